/**
 * PayPal: RSA-SHA-256 over `transmission id|time|webhook id|crc32 of the body`, with the certificate that
 * `PAYPAL-CERT-URL` names. The event's id is in the body.
 */
import { type KeyObject, verify, X509Certificate } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { onlyValue } from '../delivery.ts'
import { notJson, parsed, type Scheme, textMember, textOf } from '../scheme.ts'
import {
  decodeSignature,
  invalid,
  noMatch,
  type SignatureVerdict,
  type TimeRule,
  valid,
} from '../signatures.ts'

/** Fetches a certificate, as PEM. */
export type FetchCertificate = (url: string, signal: AbortSignal) => Promise<string>

const certificatesMax = 16
const certificateCharactersMax = 64 * 1024
const fetchTimeoutMs = 10_000

export function paypal(fetchCertificate: FetchCertificate = fetchPem): Scheme {
  const certificates = certificateCache(fetchCertificate)
  return {
    idField: 'the member `id` of the event',
    verifier: (webhookIds, time) => async (delivery) => {
      const [id, sentAt, signature, certUrl, algorithm] = [
        'paypal-transmission-id',
        'paypal-transmission-time',
        'paypal-transmission-sig',
        'paypal-cert-url',
        'paypal-auth-algo',
      ].map((name) => onlyValue(delivery, name))
      if (id === undefined || sentAt === undefined || signature === undefined || certUrl === undefined) {
        return invalid('A field of the PayPal transmission is missing or repeated.')
      }
      if (algorithm !== 'SHA256withRSA') return invalid('PAYPAL-AUTH-ALGO is not SHA256withRSA.')
      if (!isCertificateUrl(certUrl)) return invalid('PAYPAL-CERT-URL is not a certificate of PayPal.')
      const certificate = await certificates(certUrl)
      if (certificate === undefined)
        return { kind: 'unavailable', reason: 'The certificate could not be fetched.' }
      const fault = certificateFault(certificate, time)
      if (fault !== undefined) return fault
      const octets = decodeSignature(signature)
      if (octets === undefined) return noMatch
      const isSigned = (webhookId: string): boolean => {
        const signed = Buffer.from(`${id}|${sentAt}|${webhookId}|${crc32(delivery.body)}`)
        return verifies(signed, certificate.publicKey, octets)
      }
      return webhookIds.some(isSigned) ? valid : noMatch
    },
    read(delivery) {
      const payload = parsed(textOf(delivery))
      if (payload === undefined) return notJson
      return {
        kind: 'event',
        id: textMember(payload, 'id'),
        type: textMember(payload, 'event_type'),
        payload,
      }
    },
  }
}

function verifies(signed: Buffer, key: KeyObject, signature: Buffer): boolean {
  return key.asymmetricKeyType === 'rsa' && verify('RSA-SHA256', signed, key, signature)
}

/** The TLS connection to a host of PayPal's is what vouches for a certificate, so no other host is asked. */
function isCertificateUrl(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, hostname, port, username, password, pathname } = new URL(text)
  return (
    protocol === 'https:' &&
    isPayPalHost(hostname) &&
    port === '' &&
    username === '' &&
    password === '' &&
    pathname.startsWith('/v1/notifications/certs/')
  )
}

function isPayPalHost(name: string): boolean {
  return name === 'paypal.com' || name.endsWith('.paypal.com')
}

/** A certificate that is out of its time, or not of a host of PayPal's. */
function certificateFault(certificate: X509Certificate, time: TimeRule): SignatureVerdict | undefined {
  const now = time.now()
  if (now < Date.parse(certificate.validFrom) || now > Date.parse(certificate.validTo)) {
    return invalid('The certificate is out of its time.')
  }
  const names = [
    ...Array.from(certificate.subject.matchAll(/^CN=(.*)$/gm), ([, name = '']) => name),
    ...Array.from((certificate.subjectAltName ?? '').matchAll(/DNS:([^,\s]+)/g), ([, name = '']) => name),
  ]
  return names.some(isPayPalHost) ? undefined : invalid('The certificate is not of PayPal.')
}

/** Certificates by URL; a failed fetch is forgotten, so that the next delivery tries again. */
function certificateCache(
  fetchCertificate: FetchCertificate,
): (url: string) => Promise<X509Certificate | undefined> {
  const cached = new Map<string, Promise<X509Certificate | undefined>>()
  return async (url) => {
    let certificate = cached.get(url)
    if (certificate === undefined) {
      if (cached.size >= certificatesMax) cached.delete(cached.keys().next().value as string)
      certificate = fetched(fetchCertificate, url)
      cached.set(url, certificate)
    }
    const found = await certificate
    if (found === undefined && cached.get(url) === certificate) cached.delete(url)
    return found
  }
}

async function fetched(
  fetchCertificate: FetchCertificate,
  url: string,
): Promise<X509Certificate | undefined> {
  try {
    const pem = await fetchCertificate(url, AbortSignal.timeout(fetchTimeoutMs))
    return new X509Certificate(pem)
  } catch {
    return undefined
  }
}

async function fetchPem(url: string, signal: AbortSignal): Promise<string> {
  const response = await fetch(url, { redirect: 'error', signal })
  const text = await response.text()
  if (!response.ok || text.length > certificateCharactersMax) throw new Error('No certificate.')
  return text
}
