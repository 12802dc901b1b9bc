/**
 * Whether who asks may have it. `system:masters` may everything, everybody who is known may read discovery, and for the
 * rest the API server is asked by SubjectAccessReview. A review that fails never opens anything.
 * Source: kubernetes/apiserver, pkg/server/options/authorization.go.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../../model/clock.ts';
import { LIMITS } from '../../../model/limits.ts';
import type { ClusterClient } from '../cluster/client.ts';
import type { Requirement } from '../label-selector.ts';
import { internalError, StatusError } from '../status.ts';
import { type Attributes, reviewAttributes } from './attributes.ts';
import type { User } from './authenticate.ts';
import { type RetryOptions, review } from './retry.ts';

export interface Verdict {
  readonly allowed: boolean;
  readonly reason: string;
}

/** Throws a `StatusError` for a review that failed. */
export type AccessReviewer = (user: User, attributes: Attributes, selector: readonly Requirement[]) => Promise<Verdict>;

const MASTERS = 'system:masters';
const AUTHENTICATED = 'system:authenticated';

/** Throws 403, or 500 if a review failed. */
export async function authorize(
  user: User,
  attributes: Attributes,
  selector: readonly Requirement[],
  reviewAccess: AccessReviewer,
): Promise<void> {
  if (user.groups.includes(MASTERS)) return;
  if (isDiscovery(attributes) && user.groups.includes(AUTHENTICATED)) return;
  const { allowed, reason } = await reviewAccess(user, attributes, selector);
  if (!allowed) throw forbidden(user, attributes, reason);
}

/** Discovery has to work while the API server cannot answer reviews, or namespaces cannot be deleted. */
function isDiscovery(attributes: Attributes): boolean {
  return (
    attributes.kind === 'path' &&
    (attributes.verb === 'get' || attributes.verb === 'head') &&
    /^\/(?:apis(?:\/[^/]+){0,2}|openapi(?:\/.*)?|version)\/?$/.test(attributes.path)
  );
}

export function forbidden({ name: user }: User, attributes: Attributes, reason: string): StatusError {
  const why = reason === '' ? '' : `: ${reason}`;
  if (attributes.kind === 'path') {
    const message = `forbidden: User ${JSON.stringify(user)} cannot ${attributes.verb} path ${JSON.stringify(attributes.path)}${why}`;
    return new StatusError(403, 'Forbidden', escapeHtml(message), [], {});
  }
  const { verb, group, resource, subresource, name, namespace } = attributes;
  const what = subresource === '' ? resource : `${resource}/${subresource}`;
  const where = namespace === '' ? 'at the cluster scope' : `in the namespace ${JSON.stringify(namespace)}`;
  const message =
    `${resource}.${group}${name === '' ? '' : ` ${JSON.stringify(name)}`} is forbidden: User ${JSON.stringify(user)} ` +
    `cannot ${verb} resource ${JSON.stringify(what)} in API group ${JSON.stringify(group)} ${where}${why}`;
  const details = { group, kind: resource, ...(name === '' ? {} : { name }) };
  return new StatusError(403, 'Forbidden', escapeHtml(message), [], details);
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

interface Reviewed {
  readonly verdict: Promise<Verdict>;
  readonly timeMs: number;
}

/** Asks the API server; a yes and a no hold for ten seconds. */
export function accessReviewer(client: ClusterClient, clock: Clock, retries: RetryOptions): AccessReviewer {
  const cache = new LRUCache<string, Reviewed>({ max: LIMITS.reviewCacheEntriesMax });
  return ({ name, uid, groups, extra }, attributes, selector) => {
    const spec = {
      user: name,
      ...(uid === '' ? {} : { uid }),
      groups,
      ...(Object.keys(extra).length === 0 ? {} : { extra }),
      ...reviewAttributes(attributes, selector),
    };
    const key = JSON.stringify(spec);
    const known = cache.get(key);
    const timeMs = clock.monotonicMs();
    if (known !== undefined && timeMs - known.timeMs <= LIMITS.reviewCacheMs) return known.verdict;
    const verdict = reviewAccess(client, spec, retries);
    cache.set(key, { verdict, timeMs });
    verdict.catch(() => cache.delete(key));
    return verdict;
  };
}

async function reviewAccess(client: ClusterClient, spec: object, retries: RetryOptions): Promise<Verdict> {
  const body = { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', spec };
  let reviewed: unknown;
  try {
    reviewed = await review(
      (totalMs) => client.call('/apis/authorization.k8s.io/v1/subjectaccessreviews', { method: 'POST', body, totalMs }),
      retries,
    );
  } catch (error) {
    throw internalError(`cannot review access: ${(error as Error).message}`);
  }
  const { status = {} } = (reviewed ?? {}) as {
    readonly status?: { allowed?: boolean; denied?: boolean; reason?: string };
  };
  return { allowed: status.allowed === true && status.denied !== true, reason: status.reason ?? '' };
}
