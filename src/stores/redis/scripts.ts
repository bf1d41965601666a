/**
 * The scripts: one text for each verb, as it handles one key by itself and as it handles many. They are constant:
 * values travel as arguments only. Each key is looked at first and written last, once. What the server
 * says against one key is that key's answer. The clock is the server's, read once for a call.
 *
 * Arguments: all items packed into one string, each after its length (4 octets; one by itself without it), then how
 * long the server is to keep each key (`PX`): one number for all, or where they differ one for each. Answer: the time,
 * a letter for each key, and what the letters call for:
 *
 *   c  it was absent and is claimed        w  taken over, followed by its fence
 *   s  settled or renewed                  a  refused or not found: nothing is there, or nothing of the holder's
 *   f  found, followed by its octets       r  refused, followed by its octets
 *   d  removed                             t  turned into a tombstone
 *   k  kept as it is                       e  the server's error, followed by its text
 */
import { createHash } from 'node:crypto'

/**
 * How octets travel. `octets`: as they are. `hex`: as hexadecimal text after an `x`, for clients that speak JSON
 * (the `x` keeps them from taking digits for a number).
 */
export type Wire = 'octets' | 'hex'

export interface Script {
  readonly text: string
  readonly sha: string
  /** Writes nothing. */
  readonly isReadonly: boolean
}

/** A verb for one key and for any number of them. */
export interface VerbScripts {
  readonly one: Script
  readonly many: Script
}

export interface Scripts {
  readonly claim: VerbScripts
  readonly supersede: VerbScripts
  readonly renew: VerbScripts
  readonly settle: VerbScripts
  readonly read: VerbScripts
  readonly sweep: VerbScripts
}

/** Kept longer than it means anything by so much: what expires is decided by stored times, never by the server. */
export const marginMs = 60_000

/** The parts in which a script for one key differs from one for many. Functions would cost as much as the verb. */
interface Parts {
  readonly key: string
  /** How long it is kept. */
  readonly ms: string
  /** Whether anything but keys travels. */
  say(letter: string, more?: string): string
  /** Says what the server answered to a write, or else `then`. */
  write(command: string, then: string): string
}

const one: Parts = {
  key: 'KEYS[1]',
  ms: 'ARGV[2]',
  say: (letter, more) => `return answer({ stamp, '${letter}'${more === undefined ? '' : `, ${more}`} })`,
  write: (command, then) => `redis.call(${command})
    ${then}`,
}

const many: Parts = {
  key: 'KEYS[n]',
  ms: 'ms or ARGV[n + 1]',
  say: (letter, more) => `letters[n] = '${letter}'${more === undefined ? '' : ` out[#out + 1] = ${more}`}`,
  write: (command, then) => `local done = pcall(${command})
    if type(done) == 'table' and done.err then letters[n] = 'e' out[#out + 1] = done.err else ${then} end`,
}

/** A number of so many octets, big-endian, at a place of `text`. */
const number = (text: string, at: number, bytes: number): string =>
  `(struct.unpack('>I${bytes}', ${text}, ${at}))`

/** What a verb does with one key: `found` is what is there, `item` what came for it. */
type Verb = (parts: Parts, isWaited: boolean) => string

/**
 * Writes a record again as it is, so that there is something to replicate: `WAIT` only knows what its own connection
 * wrote, and a verb whose answer was lost may have been sent over another one.
 */
const again = ({ key }: Parts, isWaited: boolean, isOwn: string): string =>
  isWaited ? `if ${isOwn} then redis.pcall('SET', ${key}, found, 'KEEPTTL') end` : ''

const claim: Verb = (parts, isWaited) => `
  if found then
    ${again(parts, isWaited, 'string.sub(found, 18, 33) == string.sub(item, 1, 16)')}
    ${parts.say('f', 'found')}
  else
    local value = '\\17' .. stamp .. stamp .. '\\0\\0\\0\\1' .. item
    ${parts.write(`'SET', ${parts.key}, value, 'PX', ${parts.ms}`, parts.say('c'))}
  end`

const supersede: Verb = (parts, isWaited) => `
  if not found then ${parts.say('a')}
  elseif #found < 46 or string.sub(found, 1, 1) ~= string.sub(item, 1, 1) or string.sub(found, 18, 33) ~= string.sub(item, 2, 17)
    or (string.byte(found, 1) == 17 and ${number('found', 2, 6)} + ${number('found', 34, 6)} > now) then
    ${again(parts, isWaited, 'string.sub(found, 18, 33) == string.sub(item, 18, 33)')}
    ${parts.say('r', 'found')}
  else
    local fence = struct.pack('>I4', ${number('found', 14, 4)} + 1)
    local value = '\\17' .. stamp .. string.sub(found, 8, 13) .. fence .. string.sub(item, 18)
    ${parts.write(`'SET', ${parts.key}, value, 'PX', ${parts.ms}`, parts.say('w', 'fence'))}
  end`

const renew: Verb = (parts) => `
  if not found or #found < 46 or string.byte(found, 1) ~= 17 or string.sub(found, 18, 33) ~= string.sub(item, 1, 16) then
    ${parts.say('a')}
  else
    local ms = string.format('%.0f', ${number('item', 17, 6)} + ${number('found', 40, 6)} + ${marginMs})
    local value = '\\17' .. stamp .. string.sub(found, 8, 33) .. string.sub(item, 17, 22) .. string.sub(found, 40)
    ${parts.write(`'SET', ${parts.key}, value, 'PX', ms`, parts.say('s'))}
  end`

const settle: Verb = (parts, isWaited) => `
  if not found then ${parts.say('a')}
  elseif #found < 46 or string.byte(found, 1) ~= 17 or string.sub(found, 18, 33) ~= string.sub(item, 2, 17) then
    ${again(parts, isWaited, 'string.sub(found, 18, 33) == string.sub(item, 2, 17)')}
    ${parts.say('r', 'found')}
  else
    local value = string.sub(item, 1, 1) .. stamp .. string.sub(found, 8, 33) .. string.sub(item, 18, 29)
      .. string.sub(found, 46) .. string.sub(item, 30)
    ${parts.write(`'SET', ${parts.key}, value, 'PX', ${parts.ms}`, parts.say('s'))}
  end`

const read: Verb = (parts) => `
  if found then ${parts.say('f', 'found')} else ${parts.say('a')} end`

/** Leaves alone what is none of the forms it knows. */
const sweep: Verb = (parts) => `
  local phase = found and #found > 45 and string.byte(found, 1) - 16 or 0
  local live = phase >= 1 and phase <= 5 and ${number('found', 2, 6)} + ${number('found', 34, 6)} or now + 1
  if live <= now and live + ${number('found', 40, 6)} <= now then
    ${parts.write(`'DEL', ${parts.key}`, parts.say('d'))}
  elseif live <= now and phase == 2 then
    local operation = 47 + string.byte(found, 46)
    local tag = operation + 2 + (string.byte(found, operation) or 0) * 256 + (string.byte(found, operation + 1) or 0)
    local value = '\\21' .. string.sub(found, 2, tag + (string.byte(found, tag) or 0))
    ${parts.write(`'SET', ${parts.key}, value, 'KEEPTTL'`, parts.say('t'))}
  else ${parts.say('k')} end`

/** How a script reads its first argument (`items`) and gives its `answer`. */
export const wires: Readonly<Record<Wire, string>> = {
  octets: `
local items = ARGV[1]
local function answer(all) return all end`,
  // Tables, since a function for each octet would keep the server busy for seconds.
  hex: `
local hex, octet = {}, {}
for n = 0, 255 do
  local two = string.format('%02x', n)
  hex[string.char(n)], octet[two] = two, string.char(n)
end
local items = string.gsub(ARGV[1], '%x%x', octet)
-- Not every server that speaks the protocol has Redis' own.
local struct = {}
function struct.pack(form, n)
  local text = ''
  for _ = 1, tonumber(string.sub(form, 3)) do
    text = string.char(n % 256) .. text
    n = math.floor(n / 256)
  end
  return text
end
function struct.unpack(form, text, at)
  local n, bytes = 0, tonumber(string.sub(form, 3, 3))
  for place = at, at + bytes - 1 do n = n * 256 + string.byte(text, place) end
  if #form == 3 then return n end
  return string.sub(text, at + bytes, at + bytes + n - 1), at + bytes + n
end
local function answer(all)
  for n = 1, #all do all[n] = 'x' .. string.gsub(all[n], '.', hex) end
  return all
end`,
}

const clock = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stamp = struct.pack('>I6', now)`

export function script(text: string, isReadonly: boolean): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex'), isReadonly }
}

/** The scripts for a client. `isWaited`: what they write is waited for on replicas. */
export function scriptsFor(wire: Wire, isWaited: boolean): Scripts {
  const head = `${wires[wire]}${clock}`
  const both = (verb: Verb, isReadonly = false): VerbScripts => ({
    one: script(
      `${head}
local found = redis.pcall('GET', KEYS[1])
if type(found) == 'table' then return answer({ stamp, 'e', found.err }) end
local item = items
${verb(one, isWaited)}`,
      isReadonly,
    ),
    many: script(
      `${head}
local letters, out, place, item = {}, { stamp, '' }, 1, nil
local ms = #ARGV == 2 and ARGV[2]
local unpack, pcall = struct.unpack, redis.pcall
for n = 1, #KEYS do
  item, place = unpack('>I4c0', items, place)
  local found = pcall('GET', KEYS[n])
  if type(found) == 'table' then letters[n] = 'e' out[#out + 1] = found.err
  else ${verb(many, isWaited)}
  end
end
out[2] = table.concat(letters)
return answer(out)`,
      isReadonly,
    ),
  })
  return {
    claim: both(claim),
    supersede: both(supersede),
    renew: both(renew),
    settle: both(settle),
    read: both(read, true),
    sweep: both(sweep),
  }
}
