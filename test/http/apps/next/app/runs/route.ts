import { connection } from 'next/server'
import { runs } from '../state'

export async function GET(): Promise<Response> {
  await connection()
  return Response.json(runs)
}
