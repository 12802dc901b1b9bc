/**
 * Whether a request may be answered: who asks, what for, and on which port.
 *
 * A role is open to everybody who reaches the port while nobody is named for it; writing and administration only as long as
 * the port is on loopback, or that is waived. Once somebody is named for a role, it takes a name.
 */
import type { Socket } from 'node:net';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import type { Named, PortName, Role } from '../model/access.ts';
import { CodedError } from '../model/errors.ts';
import type { Cell, Family, Registry } from '../telemetry/registry.ts';
import type { Identities } from './identities.ts';

/** Who asks: the name is '' for whoever showed nothing that was looked at. */
export type Identity = Named;

export const NOBODY: Identity = { name: '', namespace: '', roles: [] };

/** What was shown. */
export interface Credentials {
  /** The header of that name. */
  readonly authorization: string | undefined;
  /** The certificate of the client, if it was verified. */
  readonly certificate: () => PeerCertificate | null;
}

/** A request, as far as it says who sends it. */
export interface HttpCredentials {
  readonly headers: { readonly authorization?: string | undefined };
  readonly socket: Socket;
}

export interface GuardOptions {
  readonly identities: Identities;
  readonly port: PortName;
  readonly isLoopback: boolean;
  /** Every client of the port has shown a certificate of the authorities that it asks for. */
  readonly isCertified: boolean;
  readonly waived: readonly Role[];
  readonly registry: Registry;
}

type Refused = 'missing' | 'unknown' | 'forbidden';
const REFUSED: readonly Refused[] = ['missing', 'unknown', 'forbidden'];

/** What a client is to show: a token; people's browsers and Grafana may send one as a password. */
export const CHALLENGE = 'Bearer realm="tidegauge"';
export const CHALLENGE_READ = `${CHALLENGE}, Basic realm="tidegauge", charset="UTF-8"`;

export class Guard {
  readonly #options: GuardOptions;
  readonly #refused: Record<Refused, Cell>;

  constructor(options: GuardOptions) {
    this.#options = options;
    const family = refusedCounter(options.registry);
    const cells = REFUSED.map((reason) => [reason, family.with(options.port, reason)] as const);
    this.#refused = Object.fromEntries(cells) as Record<Refused, Cell>;
  }

  /** Who sends this request; throws `unauthenticated` or `forbidden`. */
  admitHttp(role: Role, request: HttpCredentials): Identity {
    return this.admit(role, {
      authorization: request.headers.authorization,
      certificate: () => certificateOf(request.socket),
    });
  }

  admit(role: Role, credentials: Credentials): Identity {
    const isOpen = this.#isOpen(role);
    const who = this.#identify(role, credentials, isOpen);
    if (isOpen || who?.roles.includes(role)) return who ?? NOBODY;
    if (who === null) {
      throw this.#refuse('missing', `cannot answer: it takes a bearer token or a certificate that may ${role} here`);
    }
    throw this.#refuse('forbidden', `cannot answer: ${who.name} may not ${role} here`);
  }

  /** Null for whoever shows nothing that is looked at. */
  #identify(role: Role, { authorization, certificate }: Credentials, isOpen: boolean): Identity | null {
    const { identities } = this.#options;
    if (authorization !== undefined && identities.hasTokens) {
      const token = tokenOf(authorization, role);
      const who = token === null ? null : identities.byToken(token);
      if (who !== null) return who;
      // Where nobody has to show anything, what is shown may be meant for somebody before us.
      if (!isOpen || identities.isAnonymous(role))
        throw this.#refuse('unknown', 'cannot answer: the token is not known');
    }
    if (!identities.hasClients) return null;
    const shown = certificate();
    return shown === null ? null : identities.byCertificate(shown);
  }

  #isOpen(role: Role): boolean {
    const { identities, isLoopback, isCertified, waived } = this.#options;
    if (identities.isAnonymous(role)) return true;
    if (identities.isNamed(role)) return false;
    if (role === 'read' || role === 'scale') return true;
    // Whoever has a certificate of the authorities of this port is somebody; who may administrate has to be said.
    if (role === 'write' && isCertified && !identities.hasClients) return true;
    return isLoopback || waived.includes(role);
  }

  #refuse(reason: Refused, message: string): CodedError {
    this.#refused[reason].value++;
    return new CodedError(reason === 'forbidden' ? 'forbidden' : 'unauthenticated', message);
  }
}

/**
 * The token of an Authorization header, or null. As a password it is taken for reading only: a browser that was given one
 * sends it along with the requests of any page.
 */
function tokenOf(authorization: string, role: Role): string | null {
  const [, scheme = '', value = ''] = /^(\w+) +(\S+)$/.exec(authorization) ?? [];
  if (scheme.toLowerCase() === 'bearer') return value;
  if (scheme.toLowerCase() !== 'basic' || (role !== 'read' && role !== 'scale')) return null;
  const pair = Buffer.from(value, 'base64').toString();
  return pair.slice(pair.indexOf(':') + 1);
}

/** The certificate of the client, if it was verified. */
export function certificateOf(connection: Socket): PeerCertificate | null {
  const socket = connection as Partial<TLSSocket>;
  if (socket.authorized !== true || socket.getPeerCertificate === undefined) return null;
  const certificate = socket.getPeerCertificate();
  return certificate === null || Object.keys(certificate).length === 0 ? null : certificate;
}

const counters = new WeakMap<Registry, Family<Cell>>();

function refusedCounter(registry: Registry): Family<Cell> {
  const known = counters.get(registry);
  if (known !== undefined) return known;
  const counter = registry.counter(
    'tidegauge_auth_refused_total',
    'Requests that were refused for who sent them: nothing shown, an unknown token, or a role that is missing.',
    'port',
    'reason',
  );
  counters.set(registry, counter);
  return counter;
}
