/**
 * A serving certificate of our own when none is given: a CA made at start and a leaf for this port, both P-256.
 *
 *   Certificate = SEQUENCE { tbs, AlgorithmIdentifier(ecdsa-with-SHA256), BIT STRING signature }
 *   tbs         = SEQUENCE { [0] version 3, serial, algorithm, issuer, validity, subject, public key, [3] extensions }
 *
 * DER (X.690) is written by hand: a tag, a length, the content. Source: RFC 5280, sections 4.1 and 4.2.
 */
import {
  createHash,
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';
import { isIP } from 'node:net';

export interface ServingCertificate {
  /** Leaf and CA, in this order. */
  readonly certPem: string;
  readonly keyPem: string;
  /** What a client has to trust. */
  readonly caPem: string;
}

const DAY_MS = 86_400_000;
const CA_DAYS = 3650;
/** Short enough for strict clients. */
const LEAF_DAYS = 397;
/** Clients' clocks may be behind ours. */
const SKEW_MS = 3_600_000;

/** A certificate authority and its key. */
export interface CertificateAuthority {
  readonly certPem: string;
  readonly keyPem: string;
}

export interface IssueOptions {
  readonly commonName: string;
  readonly organizations?: readonly string[];
  /** DNS names and IP addresses. */
  readonly names?: readonly string[];
  readonly usage: 'server' | 'client';
  readonly nowMs: number;
  readonly days?: number;
}

/** Makes a CA and a leaf for these DNS names and IP addresses. */
export function generateCertificate(names: readonly string[], nowMs: number): ServingCertificate {
  const authority = createAuthority(nowMs);
  const { certPem, keyPem } = issueCertificate(authority, { commonName: 'tidegauge', names, usage: 'server', nowMs });
  return { certPem: certPem + authority.certPem, keyPem, caPem: authority.certPem };
}

export function createAuthority(nowMs: number, days = CA_DAYS): CertificateAuthority {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = subjectName(`tidegauge-ca-${randomBytes(4).toString('hex')}`, []);
  const id = keyId(publicKey);
  const bytes = certificate({
    issuer: name,
    signer: privateKey,
    subject: name,
    publicKey,
    validity: validity(nowMs, days),
    extensions: [basicConstraints(true), keyUsage(KEY_CERT_SIGN | CRL_SIGN), subjectKeyId(id), authorityKeyId(id)],
  });
  return { certPem: toPem(bytes), keyPem: keyToPem(privateKey) };
}

/** A leaf alone, without its CA. */
export function issueCertificate(
  authority: CertificateAuthority,
  options: IssueOptions,
): { certPem: string; keyPem: string } {
  const { commonName, organizations = [], names = [], usage, nowMs, days = LEAF_DAYS } = options;
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const issuer = new X509Certificate(authority.certPem);
  const bytes = certificate({
    issuer: subjectOf(issuer),
    signer: createPrivateKey(authority.keyPem),
    subject: subjectName(commonName, organizations),
    publicKey,
    validity: validity(nowMs, days),
    extensions: [
      basicConstraints(false),
      keyUsage(DIGITAL_SIGNATURE),
      extendedKeyUsage(usage),
      subjectKeyId(keyId(publicKey)),
      authorityKeyId(keyId(issuer.publicKey)),
      ...(names.length === 0 ? [] : [alternativeNames(names)]),
    ],
  });
  return { certPem: toPem(bytes), keyPem: keyToPem(privateKey) };
}

function keyToPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** The name of an authority of ours, written again: it has a common name and nothing else. */
function subjectOf({ subject }: X509Certificate): Buffer {
  return subjectName(/^CN=(.+)$/m.exec(subject)?.[1] ?? '', []);
}

interface CertificateParts {
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly publicKey: KeyObject;
  readonly signer: KeyObject;
  readonly validity: Buffer;
  readonly extensions: readonly Buffer[];
}

function certificate({ issuer, subject, publicKey, signer, validity, extensions }: CertificateParts): Buffer {
  const algorithm = sequence(objectId('1.2.840.10045.4.3.2'));
  const version = explicit(0, der(TAG.integer, Buffer.from([2])));
  // A positive number of 16 bytes whose first bit is 0 and second 1: neither negative nor with a leading zero byte.
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x3f) | 0x40;
  const key = publicKey.export({ type: 'spki', format: 'der' });
  const tbs = sequence(
    version,
    der(TAG.integer, serial),
    algorithm,
    issuer,
    validity,
    subject,
    key,
    explicit(3, sequence(...extensions)),
  );
  return sequence(tbs, algorithm, bitString(sign('sha256', tbs, signer), 0));
}

const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectId: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

const DIGITAL_SIGNATURE = 0x80;
const KEY_CERT_SIGN = 0x04;
const CRL_SIGN = 0x02;

/** Tag, length (long form from 128), content. */
function der(tag: number, content: Buffer): Buffer {
  const length = content.length;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest >>>= 8) bytes.unshift(rest & 0xff);
  return Buffer.concat([Buffer.from([tag, 0x80 | bytes.length, ...bytes]), content]);
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(TAG.sequence, Buffer.concat(parts));
}

function explicit(number: number, content: Buffer): Buffer {
  return der(0xa0 | number, content);
}

function bitString(content: Buffer, unusedBits: number): Buffer {
  return der(TAG.bitString, Buffer.concat([Buffer.from([unusedBits]), content]));
}

/** The first two arcs share a byte; every later arc is base 128, high bit on all bytes but the last. */
function objectId(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const septets = [arc & 0x7f];
    for (let high = Math.floor(arc / 128); high > 0; high = Math.floor(high / 128))
      septets.unshift((high & 0x7f) | 0x80);
    bytes.push(...septets);
  }
  return der(TAG.objectId, Buffer.from(bytes));
}

function subjectName(commonName: string, organizations: readonly string[]): Buffer {
  return sequence(...organizations.map((name) => attribute('2.5.4.10', name)), attribute('2.5.4.3', commonName));
}

function attribute(id: string, text: string): Buffer {
  return der(TAG.set, sequence(objectId(id), der(TAG.utf8String, Buffer.from(text, 'utf8'))));
}

function validity(nowMs: number, days: number): Buffer {
  return sequence(time(nowMs - SKEW_MS), time(nowMs + days * DAY_MS));
}

/** Years to 2049 have two digits, later ones four. */
function time(timeMs: number): Buffer {
  const digits = `${new Date(timeMs).toISOString().slice(0, 19).replace(/[-T:]/g, '')}Z`;
  if (digits < '2050') return der(TAG.utcTime, Buffer.from(digits.slice(2), 'ascii'));
  return der(TAG.generalizedTime, Buffer.from(digits, 'ascii'));
}

/** The usual key identifier: SHA-1 of the key's bits, without the header of the structure around them (RFC 5280, 4.2.1.2). */
function keyId(publicKey: KeyObject): Buffer {
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  // An uncompressed point of P-256 is the last 65 bytes.
  return createHash('sha1').update(spki.subarray(-65)).digest();
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  const flag = critical ? [der(TAG.boolean, Buffer.from([0xff]))] : [];
  return sequence(objectId(id), ...flag, der(TAG.octetString, value));
}

function basicConstraints(isAuthority: boolean): Buffer {
  const authority = [der(TAG.boolean, Buffer.from([0xff])), der(TAG.integer, Buffer.from([0]))];
  return extension('2.5.29.19', true, sequence(...(isAuthority ? authority : [])));
}

/** The bits used are in the first byte, from the left; trailing zero bits are not written. */
function keyUsage(bits: number): Buffer {
  const unusedBits = 31 - Math.clz32(bits & -bits);
  return extension('2.5.29.15', true, bitString(Buffer.from([bits]), unusedBits));
}

function extendedKeyUsage(usage: 'server' | 'client'): Buffer {
  return extension('2.5.29.37', false, sequence(objectId(`1.3.6.1.5.5.7.3.${usage === 'server' ? 1 : 2}`)));
}

function subjectKeyId(id: Buffer): Buffer {
  return extension('2.5.29.14', false, der(TAG.octetString, id));
}

function authorityKeyId(id: Buffer): Buffer {
  return extension('2.5.29.35', false, sequence(der(0x80, id)));
}

function alternativeNames(names: readonly string[]): Buffer {
  const general = names.map((name) =>
    isIP(name) === 0 ? der(0x82, Buffer.from(name, 'ascii')) : der(0x87, addressBytes(name)),
  );
  return extension('2.5.29.17', false, sequence(...general));
}

function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail] = address.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right];
  return Buffer.from(groups.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]));
}

function toPem(bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
