/**
 * Who is known: bearer tokens of files and names in certificates, read again while the daemon runs. Of a token only its
 * HMAC under a key of this process is kept, so neither a dump of the memory nor the time of a look-up tells it.
 *
 * A file that cannot be used when it is read again changes nothing: a token that is being rewritten must not turn senders
 * away, who drop what is refused. Whoever is to be shut out gets another token, or leaves the configuration.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { PeerCertificate } from 'node:tls';
import type { Logger } from 'pino';
import type { AccessRules, ClientEntry, Named, Role } from '../model/access.ts';
import { CodedError } from '../model/errors.ts';
import type { Registry } from '../telemetry/registry.ts';

/** The least that a token is long: less can be guessed. */
const TOKEN_LENGTH_MIN = 16;
const TOKEN = /^[\x21-\x7e]{1,4096}$/;
const REFRESH_MS = 5000;

export interface IdentitiesOptions {
  /** Reads the configuration file anew. Throws `bad_config`. */
  readonly readRules: () => AccessRules;
  readonly readText: (path: string) => string;
  readonly logger: Logger;
  readonly registry: Registry;
}

interface Known {
  readonly tokens: ReadonlyMap<string, { readonly digest: Buffer; readonly who: Named }>;
  readonly clients: readonly ClientEntry[];
  readonly anonymous: readonly Role[];
  /** Roles that somebody is named for. */
  readonly named: ReadonlySet<Role>;
}

export class Identities {
  readonly #options: IdentitiesOptions;
  readonly #key = randomBytes(32);
  #known: Known;
  #rules: AccessRules;
  /** What could not be used, as it was told: once is enough. */
  #refused = '';
  #failures = 0;
  #timer: NodeJS.Timeout | null = null;

  /** Throws `bad_config` if the files cannot be used. */
  constructor(options: IdentitiesOptions) {
    this.#options = options;
    this.#rules = options.readRules();
    this.#known = this.#read(this.#rules);
    const { registry } = options;
    registry.computed('gauge', 'tidegauge_auth_identities', 'Tokens and clients that are known by name.', () => {
      return new Set([...this.#known.tokens.values()].map(({ who }) => who.name)).size + this.#known.clients.length;
    });
    registry.computed(
      'counter',
      'tidegauge_auth_reload_failures_total',
      'Times that tokens, clients or their configuration could not be read again.',
      () => this.#failures,
    );
  }

  /** The configuration in use. */
  get rules(): AccessRules {
    return this.#rules;
  }

  /** Looks at the files every few seconds from now on. */
  watch(): void {
    this.#timer ??= setInterval(() => this.refresh(), REFRESH_MS);
    this.#timer.unref();
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /** Looks at the files now. */
  refresh(): void {
    try {
      const rules = this.#options.readRules();
      this.#known = this.#read(rules);
      this.#rules = rules;
      this.#refused = '';
    } catch (error) {
      this.#failures++;
      const message = (error as Error).message;
      if (message === this.#refused) return;
      this.#refused = message;
      this.#options.logger.error(`cannot read again who is known, the former stay: ${message}`);
    }
  }

  /** True if somebody is named for a role, so that it takes more than nothing. */
  isNamed(role: Role): boolean {
    return this.#known.named.has(role) && !this.#known.anonymous.includes(role);
  }

  /** True if whoever shows nothing may do this, though it says so nowhere else. */
  isAnonymous(role: Role): boolean {
    return this.#known.anonymous.includes(role);
  }

  get hasTokens(): boolean {
    return this.#known.tokens.size > 0;
  }

  get hasClients(): boolean {
    return this.#known.clients.length > 0;
  }

  byToken(token: string): Named | null {
    const digest = this.#digest(token);
    const found = this.#known.tokens.get(digest.toString('base64'));
    return found !== undefined && timingSafeEqual(found.digest, digest) ? found.who : null;
  }

  /** By a certificate that was verified. */
  byCertificate(certificate: PeerCertificate): Named | null {
    const names = alternativeNames(certificate.subjectaltname ?? '');
    const commonName: unknown = certificate.subject?.CN;
    const found = this.#known.clients.find(
      (client) =>
        (client.commonName === '' || client.commonName === commonName) &&
        (client.san === '' || names.includes(client.san)),
    );
    return found ?? null;
  }

  #read(rules: AccessRules): Known {
    const tokens = new Map<string, { digest: Buffer; who: Named }>();
    for (const { name, namespace, roles, file } of rules.tokens) {
      for (const token of this.#tokensOf(name, file)) {
        const digest = this.#digest(token);
        const key = digest.toString('base64');
        if (tokens.has(key)) throw badConfig(`cannot use the token of ${name}: it is that of somebody else, too`);
        tokens.set(key, { digest, who: { name, namespace, roles } });
      }
    }
    const named = new Set([...rules.tokens, ...rules.clients].flatMap(({ roles }) => roles));
    return { tokens, clients: rules.clients, anonymous: rules.anonymous, named };
  }

  /** One token a line, so that a new one can be added before the old one goes. */
  #tokensOf(name: string, file: string): readonly string[] {
    let text: string;
    try {
      text = this.#options.readText(file);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw badConfig(`cannot read the token file ${file} of ${name}: ${code ?? 'it cannot be read'}`);
    }
    const lines = text.split('\n').map((line) => line.trim());
    const tokens = [...new Set(lines.filter((line) => line !== '' && !line.startsWith('#')))];
    if (tokens.length === 0) throw badConfig(`cannot use the token file ${file} of ${name}: it is empty`);
    if (!tokens.every((token) => TOKEN.test(token) && token.length >= TOKEN_LENGTH_MIN)) {
      const want = `want ${TOKEN_LENGTH_MIN} to 4096 printable ASCII characters without spaces`;
      throw badConfig(`cannot use a token of the file ${file} of ${name}: ${want}`);
    }
    return tokens;
  }

  #digest(token: string): Buffer {
    return createHmac('sha256', this.#key).update(token).digest();
  }
}

/**
 * The values of `DNS:a.example, URI:spiffe://b`. Node quotes as JSON what could be mistaken for two.
 * https://nodejs.org/api/tls.html#certificate-object
 */
function alternativeNames(text: string): readonly string[] {
  const names: string[] = [];
  for (const [, quoted, bare] of text.matchAll(/(?:^|, )[A-Za-z ]+:(?:("(?:[^"\\]|\\.)*")|([^,]*))/g)) {
    if (quoted === undefined) names.push(bare!);
    else names.push(JSON.parse(quoted) as string);
  }
  return names;
}

function badConfig(message: string): CodedError {
  return new CodedError('bad_config', message);
}
