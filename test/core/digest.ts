import { hash } from 'node:crypto'
import type { Digest } from '../../src/core/bytes.ts'

export const sha256: Digest = (data) => hash('sha256', data, 'base64url')
