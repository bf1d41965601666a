/**
 * Nest 11, which cannot be installed beside 12 under the same names: npm puts it below `node_modules/.cache`, once for
 * each set of versions.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Nest } from './packages.ts'

const versions = {
  '@nestjs/common': '11.2.10',
  '@nestjs/core': '11.2.10',
  '@nestjs/platform-express': '11.2.10',
  '@nestjs/swagger': '11.4.0',
  'reflect-metadata': '0.2.2',
  rxjs: '7.8.2',
}
const manifest = JSON.stringify({ private: true, dependencies: versions })
const cache = join(import.meta.dirname, '../../../node_modules/.cache')
const run = promisify(execFile)

/** The packages of Nest 11. The first call on a machine asks npm for them. */
export async function nest11(): Promise<Nest> {
  const require = createRequire(join(await installed(), 'package.json'))
  require('reflect-metadata')
  return {
    common: require('@nestjs/common') as Nest['common'],
    core: require('@nestjs/core') as Nest['core'],
    rxjs: require('rxjs') as Nest['rxjs'],
    swagger: require('@nestjs/swagger') as Nest['swagger'],
  }
}

async function installed(): Promise<string> {
  const name = `nest-11-${createHash('sha256').update(manifest).digest('hex').slice(0, 12)}`
  const made = join(cache, name)
  if (existsSync(made)) return made
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, `${name}-`))
  try {
    writeFileSync(join(folder, 'package.json'), manifest)
    const quiet = ['--no-audit', '--no-fund', '--no-package-lock', '--ignore-scripts', '--loglevel=error']
    await run('npm', ['install', ...quiet], { cwd: folder, timeout: 240_000 })
    renameSync(folder, made)
  } catch (error) {
    // Another process may have made it meanwhile: a folder with something in it is not replaced.
    if (!existsSync(made)) throw new Error('npm could not install Nest 11', { cause: error })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return made
}
