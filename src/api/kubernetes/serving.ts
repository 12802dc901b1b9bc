/**
 * What the port shows of itself: certificates from files, read again when they change, or of an authority of our own, which
 * is kept in a directory if there is one, and renews its leaf and itself in time.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Clock } from '../../model/clock.ts';
import { CodedError } from '../../model/errors.ts';
import { type CertificateAuthority, createAuthority, issueCertificate } from './certificate.ts';

export interface Material {
  readonly certPem: string;
  readonly keyPem: string;
}

export interface Serving {
  readonly material: Material;
  /** What a client has to trust, or null if somebody else issued the certificate. */
  readonly caPem: string | null;
  /** Looks whether something is to be renewed or read again; true if the material is another one now. */
  refresh(): boolean;
}

/** A certificate that is given as text and never changes. */
export function fixedServing(material: Material): Serving {
  return { material, caPem: null, refresh: () => false };
}

/** Reads both texts anew at each refresh; a pair that does not fit together is left alone. */
export class FileServing implements Serving {
  readonly caPem = null;
  readonly #read: () => Material;
  readonly #logger: Logger;
  #fault: string;
  material: Material;

  constructor(read: () => Material, logger: Logger) {
    this.#read = read;
    this.#logger = logger;
    this.#fault = '';
    this.material = read();
    checkPair(this.material);
  }

  refresh(): boolean {
    try {
      const next = this.#read();
      if (next.certPem === this.material.certPem && next.keyPem === this.material.keyPem) return false;
      checkPair(next);
      this.#fault = '';
      this.material = next;
      this.#logger.info('the certificate of the Kubernetes port was read again');
      return true;
    } catch (error) {
      this.#tell(`cannot read the certificate of the Kubernetes port again: ${(error as Error).message}`);
      return false;
    }
  }

  /** Once, while it stays the same. */
  #tell(fault: string): void {
    if (fault !== this.#fault) this.#logger.error(fault);
    this.#fault = fault;
  }
}

const FILES = { caCert: 'ca.crt', caKey: 'ca.key', cert: 'tls.crt', key: 'tls.key' } as const;
/** What is left of a certificate's life when it is renewed. */
const RENEW_SHARE = 1 / 3;

export interface OwnServingOptions {
  readonly names: readonly string[];
  /** '' keeps nothing: each start makes another authority. */
  readonly directory: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class OwnServing implements Serving {
  readonly #options: OwnServingOptions;
  #authority: CertificateAuthority;
  /** Authorities that are still to be trusted, the newest first. */
  #caPem: string;
  material: Material;

  constructor(options: OwnServingOptions) {
    this.#options = options;
    const kept = this.#load();
    this.#authority = kept?.authority ?? createAuthority(options.clock.nowMs());
    this.#caPem = kept?.caPem ?? this.#authority.certPem;
    this.material = kept?.material ?? this.#issue();
    if (!this.refresh() && kept === null) this.#save();
  }

  get caPem(): string {
    return this.#caPem;
  }

  refresh(): boolean {
    const nowMs = this.#options.clock.nowMs();
    const isAuthorityDue = isDue(this.#authority.certPem, nowMs);
    if (isAuthorityDue) {
      this.#authority = createAuthority(nowMs);
      this.#caPem = this.#authority.certPem + firstCertificate(this.#caPem);
    }
    if (!isAuthorityDue && !isDue(this.material.certPem, nowMs) && this.#fits()) return false;
    this.material = this.#issue();
    this.#save();
    this.#options.logger.info('the certificate of the Kubernetes port was renewed');
    return true;
  }

  /** The leaf is of this authority and for all the names that are wanted now. */
  #fits(): boolean {
    const leaf = new X509Certificate(this.material.certPem);
    const names = new Set(
      (leaf.subjectAltName ?? '').split(', ').map((name) => name.replace(/^(?:DNS|IP Address):/, '')),
    );
    const hasNames = this.#options.names.every((name) => names.has(name) || name.includes(':'));
    return hasNames && leaf.checkIssued(new X509Certificate(this.#authority.certPem));
  }

  #issue(): Material {
    const { names, clock } = this.#options;
    const options = { commonName: 'tidegauge', names, usage: 'server', nowMs: clock.nowMs() } as const;
    const { certPem, keyPem } = issueCertificate(this.#authority, options);
    return { certPem: certPem + this.#authority.certPem, keyPem };
  }

  #load(): { readonly authority: CertificateAuthority; readonly caPem: string; readonly material: Material } | null {
    const { directory, logger } = this.#options;
    if (directory === '') return null;
    const read = (name: string): string => readFileSync(join(directory, name), 'utf8');
    try {
      const caPem = read(FILES.caCert);
      const material = { certPem: read(FILES.cert), keyPem: read(FILES.key) };
      const authority = { certPem: firstCertificate(caPem), keyPem: read(FILES.caKey) };
      checkPair(material);
      checkPair(authority);
      return { authority, caPem, material };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        logger.warn(`cannot use the certificates in ${directory}, new ones are made: ${(error as Error).message}`);
      }
      return null;
    }
  }

  /** Keys are for us alone; a file is whole or not there. */
  #save(): void {
    const { directory, logger } = this.#options;
    if (directory === '') return;
    const write = (name: string, text: string): void => {
      const path = join(directory, name);
      writeFileSync(`${path}.new`, text, { mode: 0o600 });
      renameSync(`${path}.new`, path);
    };
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      write(FILES.caKey, this.#authority.keyPem);
      write(FILES.caCert, this.#caPem);
      write(FILES.key, this.material.keyPem);
      write(FILES.cert, this.material.certPem);
    } catch (error) {
      logger.error(`cannot keep the certificates in ${directory}: ${(error as Error).message}`);
    }
  }
}

function firstCertificate(pem: string): string {
  return /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----\n?/.exec(pem)?.[0] ?? pem;
}

function isDue(certPem: string, nowMs: number): boolean {
  const { validFrom, validTo } = new X509Certificate(certPem);
  const fromMs = Date.parse(validFrom);
  const toMs = Date.parse(validTo);
  return nowMs > toMs - (toMs - fromMs) * RENEW_SHARE;
}

function checkPair({ certPem, keyPem }: Material): void {
  let fits = false;
  try {
    fits = new X509Certificate(certPem).checkPrivateKey(createPrivateKey(keyPem));
  } catch (cause) {
    throw new CodedError('bad_config', `cannot read a certificate and its key: ${(cause as Error).message}`, { cause });
  }
  if (!fits) throw new CodedError('bad_config', 'cannot use a certificate: the key is that of another one');
}
