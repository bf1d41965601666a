/**
 * The scripts, one for each verb. They are constant texts: values travel as arguments only. A call handles any
 * number of keys, each by itself: it looks first and writes last, once, and an error of the server's on one key is
 * that key's answer. The clock is the server's, read once for a call.
 *
 * Arguments: all items packed into one string, each after its length (4 octets), then for each key how long the
 * server is to keep it (`PX`). Answer: the time, a letter for each key, and what the letters call for:
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

export interface Scripts {
  readonly claim: Script
  readonly supersede: Script
  readonly renew: Script
  readonly settle: Script
  readonly read: Script
  readonly sweep: Script
}

/** Kept longer than it means anything by so much: what expires is decided by stored times, never by the server. */
export const marginMs = 60_000

const wires: Readonly<Record<Wire, string>> = {
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
local function answer(all)
  for n = 1, #all do all[n] = 'x' .. string.gsub(all[n], '.', hex) end
  return all
end`,
}

const prelude = (wire: Wire): string => `${wires[wire]}
local byte, char, sub, floor = string.byte, string.char, string.sub, math.floor
local function pack(n)
  return char(floor(n / 1099511627776) % 256, floor(n / 4294967296) % 256, floor(n / 16777216) % 256,
    floor(n / 65536) % 256, floor(n / 256) % 256, n % 256)
end
local function unpack(s, at)
  local a, b, c, d, e, f = byte(s, at, at + 5)
  if not f then return 0 end
  return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end
local time = redis.call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)
local stamp = pack(now)
local letters, out, place = {}, { stamp, '' }, 1
local function say(letter, more)
  letters[#letters + 1] = letter
  if more then out[#out + 1] = more end
end
local function item()
  local a, b, c, d = byte(items, place, place + 3)
  local start = place + 4
  place = start + ((a * 256 + b) * 256 + c) * 256 + d
  return sub(items, start, place - 1)
end
local function get(key)
  local found = redis.pcall('GET', key)
  if type(found) == 'table' then return nil, found.err end
  return found or nil
end
local function set(key, value, ms)
  local done = redis.pcall('SET', key, value, 'PX', ms)
  if type(done) == 'table' and done.err then return done.err end
end
`

const finish = `
out[2] = table.concat(letters)
return answer(out)`

/**
 * Writes a record again as it is, so that there is something to replicate: `WAIT` only knows what its own
 * connection wrote, and a verb whose answer was lost may have been sent over another one.
 */
const again = (isWaited: boolean): string => (isWaited ? `redis.pcall('SET', KEYS[n], found, 'KEEPTTL')` : '')

const claim = (isWaited: boolean): string => `
local head = char(17) .. stamp .. stamp .. char(0, 0, 0, 1)
for n = 1, #KEYS do
  local body = item()
  local found, problem = get(KEYS[n])
  if problem then say('e', problem)
  elseif found then
    if sub(found, 18, 33) == sub(body, 1, 16) then ${again(isWaited)} end
    say('f', found)
  else
    problem = set(KEYS[n], head .. body, ARGV[n + 1])
    if problem then say('e', problem) else say('c') end
  end
end`

const supersede = (isWaited: boolean): string => `
for n = 1, #KEYS do
  local seen = item()
  local found, problem = get(KEYS[n])
  if problem then say('e', problem)
  elseif not found then say('a')
  elseif sub(found, 1, 1) ~= sub(seen, 1, 1) or sub(found, 18, 33) ~= sub(seen, 2, 17)
    or (byte(found, 1) == 17 and unpack(found, 2) + unpack(found, 34) > now) then
    if sub(found, 18, 33) == sub(seen, 18, 33) then ${again(isWaited)} end
    say('r', found)
  else
    local a, b, c, d = byte(found, 14, 17)
    local fence = sub(pack(((a * 256 + b) * 256 + c) * 256 + d + 1), 3, 6)
    problem = set(KEYS[n], char(17) .. stamp .. sub(found, 8, 13) .. fence .. sub(seen, 18), ARGV[n + 1])
    if problem then say('e', problem) else say('w', fence) end
  end
end`

const renew = `
for n = 1, #KEYS do
  local held = item()
  local found, problem = get(KEYS[n])
  if problem then say('e', problem)
  elseif not found then say('a')
  elseif byte(found, 1) ~= 17 or sub(found, 18, 33) ~= sub(held, 1, 16) then say('a')
  else
    local ms = string.format('%.0f', unpack(held, 17) + unpack(found, 40) + ${marginMs})
    problem = set(KEYS[n], char(17) .. stamp .. sub(found, 8, 33) .. sub(held, 17, 22) .. sub(found, 40), ms)
    if problem then say('e', problem) else say('s') end
  end
end`

const settle = (isWaited: boolean): string => `
for n = 1, #KEYS do
  local settled = item()
  local found, problem = get(KEYS[n])
  if problem then say('e', problem)
  elseif not found then say('a')
  elseif byte(found, 1) ~= 17 or sub(found, 18, 33) ~= sub(settled, 2, 17) then
    if sub(found, 18, 33) == sub(settled, 2, 17) then ${again(isWaited)} end
    say('r', found)
  else
    problem = set(KEYS[n], sub(settled, 1, 1) .. stamp .. sub(found, 8, 33) .. sub(settled, 18, 29) .. sub(found, 46)
      .. sub(settled, 30), ARGV[n + 1])
    if problem then say('e', problem) else say('s') end
  end
end`

const read = `
for n = 1, #KEYS do
  local found, problem = get(KEYS[n])
  if problem then say('e', problem) elseif found then say('f', found) else say('a') end
end`

/** Leaves alone what is none of the forms it knows. */
const sweep = `
for n = 1, #KEYS do
  local found = get(KEYS[n])
  local phase = found and #found > 45 and byte(found, 1) - 16 or 0
  if phase < 1 or phase > 5 then say('k')
  else
    local live = unpack(found, 2) + unpack(found, 34)
    local kept = unpack(found, 40)
    if now >= live + kept and redis.call('DEL', KEYS[n]) == 1 then say('d')
    elseif phase == 2 and now >= live then
      local operation = 47 + byte(found, 46)
      local tag = operation + 2 + (byte(found, operation) or 0) * 256 + (byte(found, operation + 1) or 0)
      local ends = tag + (byte(found, tag) or 0)
      local done = redis.pcall('SET', KEYS[n], char(21) .. sub(found, 2, ends), 'KEEPTTL')
      if done.err then say('k') else say('t') end
    else say('k') end
  end
end`

function script(wire: Wire, body: string, isReadonly = false): Script {
  const text = `${prelude(wire)}${body}${finish}`
  return { text, sha: createHash('sha1').update(text).digest('hex'), isReadonly }
}

/** The scripts for a client. `isWaited`: what they write is waited for on replicas. */
export function scriptsFor(wire: Wire, isWaited: boolean): Scripts {
  return {
    claim: script(wire, claim(isWaited)),
    supersede: script(wire, supersede(isWaited)),
    renew: script(wire, renew),
    settle: script(wire, settle(isWaited)),
    read: script(wire, read, true),
    sweep: script(wire, sweep),
  }
}
