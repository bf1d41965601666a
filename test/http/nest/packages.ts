/** The packages of one Nest, so that the same tests run on each version of it. */
import 'reflect-metadata'
import * as common from '@nestjs/common'
import * as core from '@nestjs/core'
import * as swagger from '@nestjs/swagger'
import * as rxjs from 'rxjs'

/** One Nest with its RxJS. */
export interface Nest {
  readonly common: typeof common
  readonly core: typeof core
  readonly rxjs: typeof rxjs
  readonly swagger: typeof swagger
}

/** The version that the package is developed with. */
export const nest12: Nest = { common, core, rxjs, swagger }
