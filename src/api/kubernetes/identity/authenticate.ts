/**
 * Who asks. In this order, the first that applies decides; and if none applies but one was a failure, it is 401:
 *
 *   front proxy         a certificate of the request-header authority, with an allowed common name: the headers speak
 *   client certificate  of the client authority: CN is the user, O the groups
 *   bearer token        as TokenReview says
 *   nobody              system:anonymous
 *
 * Source: kubernetes/apiserver, pkg/server/options/authentication.go and pkg/authentication/request.
 */
import type { X509Certificate } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../../model/clock.ts';
import { LIMITS } from '../../../model/limits.ts';
import type { ClusterClient } from '../cluster/client.ts';
import { internalError, StatusError } from '../status.ts';
import { isIssuedBy, subjectValues } from './chain.ts';
import { type RetryOptions, review } from './retry.ts';
import type { RequestHeaderTrust, Trust } from './trust.ts';

export interface User {
  readonly name: string;
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

/** What a request says of its sender. */
export interface Credentials {
  /** The client's certificate and what came with it; empty without one. */
  readonly chain: readonly X509Certificate[];
  /** Every value of each header, names in lower case. */
  readonly headers: Readonly<Record<string, readonly string[] | undefined>>;
}

export type TokenReviewer = (token: string) => Promise<User | null>;

const AUTHENTICATED = 'system:authenticated';
const ANONYMOUS: User = { name: 'system:anonymous', uid: '', groups: ['system:unauthenticated'], extra: {} };

export interface AuthenticatorOptions {
  readonly trust: () => Trust;
  /** Null where there is no API server to ask. */
  readonly reviewToken: TokenReviewer | null;
  readonly clock: Clock;
}

/** Throws 401, or 500 if a review failed. */
export async function authenticate(credentials: Credentials, options: AuthenticatorOptions): Promise<User> {
  const { chain, headers } = credentials;
  const { requestHeader, clientAuthorities } = options.trust();
  const nowMs = options.clock.nowMs();
  let failed = false;
  if (chain.length > 0) {
    const proxied = requestHeader === null ? 'empty' : byFrontProxy(requestHeader, chain, headers, nowMs);
    if (typeof proxied === 'object') return withAuthenticated(proxied);
    const own = isIssuedBy(chain, clientAuthorities, nowMs) ? userOf(chain[0]!) : null;
    if (own !== null && own.name !== '') return withAuthenticated(own);
    // One that names nobody is no failure in itself.
    failed = own === null || proxied === 'failed';
  }
  const token = bearerToken(headers);
  if (token !== null) {
    const user = options.reviewToken === null ? null : await options.reviewToken(token);
    if (user !== null) return withAuthenticated(user);
    failed = true;
  }
  if (failed) throw unauthorized();
  return ANONYMOUS;
}

export function unauthorized(): StatusError {
  return new StatusError(401, 'Unauthorized', 'Unauthorized');
}

/** The user that the headers name; `empty` if they name none, `failed` if they may not be believed. */
function byFrontProxy(
  trust: RequestHeaderTrust,
  chain: readonly X509Certificate[],
  headers: Credentials['headers'],
  nowMs: number,
): User | 'empty' | 'failed' {
  if (!isIssuedBy(chain, trust.authorities, nowMs)) return 'failed';
  const [commonName = ''] = subjectValues(chain[0]!, 'CN');
  if (trust.allowedNames.length > 0 && !trust.allowedNames.includes(commonName)) return 'failed';
  const name = firstValue(headers, trust.usernameHeaders);
  if (name === '') return 'empty';
  return {
    name,
    uid: firstValue(headers, trust.uidHeaders),
    groups: trust.groupHeaders.flatMap((header) => (headers[header] ?? []).filter((group) => group !== '')),
    extra: extraOf(headers, trust.extraPrefixes),
  };
}

function firstValue(headers: Credentials['headers'], names: readonly string[]): string {
  for (const name of names) {
    const value = headers[name]?.[0] ?? '';
    if (value !== '') return value;
  }
  return '';
}

function extraOf(headers: Credentials['headers'], prefixes: readonly string[]): Record<string, string[]> {
  const extra = new Map<string, string[]>();
  for (const [header, values = []] of Object.entries(headers)) {
    const prefix = prefixes.find((one) => header.startsWith(one));
    if (prefix === undefined) continue;
    const key = decoded(header.slice(prefix.length).toLowerCase());
    extra.set(key, [...(extra.get(key) ?? []), ...values]);
  }
  return Object.fromEntries(extra);
}

/** What is no percent-encoding stays as it is. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function userOf(certificate: X509Certificate): User {
  const [name = ''] = subjectValues(certificate, 'CN');
  return { name, uid: '', groups: subjectValues(certificate, 'O'), extra: {} };
}

function bearerToken(headers: Credentials['headers']): string | null {
  const [type = '', token = ''] = (headers.authorization?.[0] ?? '').trim().split(/\s+/);
  return type.toLowerCase() === 'bearer' && token !== '' ? token : null;
}

function withAuthenticated(user: User): User {
  if (user.groups.includes(AUTHENTICATED) || user.name === ANONYMOUS.name) return user;
  return { ...user, groups: [...user.groups, AUTHENTICATED] };
}

interface Reviewed {
  readonly user: Promise<User | null>;
  readonly timeMs: number;
}

/** Asks the API server whose a token is; answers hold for ten seconds. */
export function tokenReviewer(client: ClusterClient, clock: Clock, retries: RetryOptions): TokenReviewer {
  const cache = new LRUCache<string, Reviewed>({ max: LIMITS.reviewCacheEntriesMax });
  return (token) => {
    const known = cache.get(token);
    const timeMs = clock.monotonicMs();
    if (known !== undefined && timeMs - known.timeMs <= LIMITS.reviewCacheMs) return known.user;
    const user = reviewToken(client, token, retries);
    cache.set(token, { user, timeMs });
    user.catch(() => cache.delete(token));
    return user;
  };
}

async function reviewToken(client: ClusterClient, token: string, retries: RetryOptions): Promise<User | null> {
  const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } };
  let reviewed: unknown;
  try {
    reviewed = await review(
      (totalMs) => client.call('/apis/authentication.k8s.io/v1/tokenreviews', { method: 'POST', body, totalMs }),
      retries,
    );
  } catch (error) {
    throw internalError(`cannot review a token: ${(error as Error).message}`);
  }
  const { status = {} } = (reviewed ?? {}) as { readonly status?: TokenReviewStatus };
  if (status.authenticated !== true || (status.user?.username ?? '') === '') return null;
  const { username = '', uid = '', groups = [], extra = {} } = status.user!;
  return { name: username, uid, groups: groups ?? [], extra: extra ?? {} };
}

interface TokenReviewStatus {
  readonly authenticated?: boolean;
  readonly user?: {
    readonly username?: string;
    readonly uid?: string;
    readonly groups?: readonly string[] | null;
    readonly extra?: Readonly<Record<string, readonly string[]>> | null;
  };
}
