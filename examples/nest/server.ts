/**
 * A charge that is safe to retry, on NestJS. From the root of a clone:
 *
 *   npm run example -- nest
 */
import 'reflect-metadata'
import { Body, Controller, Get, Header, Module, Post } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import type { Request } from 'express'
import { createIdempotency } from 'retrysafe'
import {
  IdempotencyAttempt,
  type IdempotencyContext,
  IdempotencyModule,
  Idempotent,
} from 'retrysafe/http/nest'
import { sqliteStore } from 'retrysafe/stores/sqlite'

const idem = createIdempotency({ store: sqliteStore({ file: process.env['DB'] ?? './idempotency.db' }) })

class CreateCharge {
  amount!: number
}

@Controller('charges')
class ChargesController {
  private charges = 0

  @Post()
  @Idempotent({ required: true })
  @Header('Location', '/charges/1')
  create(@Body() { amount }: CreateCharge, @IdempotencyAttempt() attempt: IdempotencyContext): object {
    this.charges += 1
    return { id: this.charges, amount, attempt: attempt.fence }
  }

  @Get()
  count(): object {
    return { charges: this.charges }
  }
}

@Module({
  imports: [
    IdempotencyModule.forRoot({
      idem,
      principal: (request: Request) => request.get('x-tenant') ?? 'anonymous',
    }),
  ],
  controllers: [ChargesController],
})
class AppModule {}

// `rawBody` keeps the octets, so that requests are compared by them and not by what the parser left.
const app = await NestFactory.create(AppModule, { rawBody: true, logger: ['error', 'warn'] })
await app.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1')
console.log(`Listening on ${await app.getUrl()}`)
