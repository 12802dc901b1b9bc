/**
 * Whether a client's certificate was issued by one of given authorities, and by none else. TLS itself is not asked: it
 * would mix the authority of the front proxy with that of ordinary users, who could then speak for everybody.
 */
import { X509Certificate } from 'node:crypto';

const DEPTH_MAX = 8;
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const ANY_USAGE = '2.5.29.37.0';

/** Certificates of a bundle; what is none is an error. */
export function parseBundle(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

/** `chain` is the leaf, then what the client sent with it, in any order. */
export function isIssuedBy(
  chain: readonly X509Certificate[],
  authorities: readonly X509Certificate[],
  nowMs: number,
): boolean {
  const [leaf, ...between] = chain;
  if (leaf === undefined || !isForClients(leaf)) return false;
  let current = leaf;
  for (let depth = 0; depth < DEPTH_MAX; depth++) {
    if (!isValidAt(current, nowMs)) return false;
    const authority = authorities.find((one) => isValidAt(one, nowMs) && isIssuer(one, current));
    if (authority !== undefined) return true;
    const next = between.find((one) => one !== current && one.ca && isIssuer(one, current));
    if (next === undefined) return false;
    current = next;
  }
  return false;
}

function isIssuer(issuer: X509Certificate, subject: X509Certificate): boolean {
  return issuer.ca && subject.checkIssued(issuer) && subject.verify(issuer.publicKey);
}

function isValidAt({ validFrom, validTo }: X509Certificate, nowMs: number): boolean {
  return Date.parse(validFrom) <= nowMs && nowMs <= Date.parse(validTo);
}

/** A certificate that names no purposes may be used for any. */
function isForClients({ keyUsage }: X509Certificate): boolean {
  return keyUsage === undefined || keyUsage.includes(CLIENT_AUTH) || keyUsage.includes(ANY_USAGE);
}

/** Values of one attribute of the subject: CN, O. Node writes one a line, and escapes what would be ambiguous. */
export function subjectValues({ subject }: X509Certificate, attribute: string): string[] {
  return (subject ?? '')
    .split('\n')
    .filter((line) => line.startsWith(`${attribute}=`))
    .map((line) => line.slice(attribute.length + 1).replace(/\\([\s\S])/g, '$1'));
}
