/**
 * Who may pass: authentication, then authorization, in one of three ways.
 *
 *   delegated      the cluster decides: front proxy, client certificates and tokens; SubjectAccessReview
 *   certificates   whoever has a certificate of the given authorities, for places without an API server
 *   none           everybody
 *
 * Health needs no leave: kubelet asks without credentials.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../../model/clock.ts';
import { CodedError } from '../../../model/errors.ts';
import type { Cell, Family, Registry } from '../../../telemetry/registry.ts';
import type { ClusterClient } from '../cluster/client.ts';
import { type Requirement, writtenRequirements } from '../label-selector.ts';
import { attributesOf } from './attributes.ts';
import { type AuthenticatorOptions, authenticate, type Credentials, tokenReviewer } from './authenticate.ts';
import { type AccessReviewer, accessReviewer, authorize } from './authorize.ts';
import type { RetryOptions } from './retry.ts';
import { trustOfFiles, WatchedTrust } from './trust.ts';

export type IdentityMode =
  | { readonly kind: 'none' }
  | { readonly kind: 'delegated' }
  | { readonly kind: 'certificates'; readonly clientCaPem: string; readonly requestHeaderCaPem: string };

export interface Admission extends Credentials {
  readonly method: string;
  readonly segments: readonly string[];
  readonly isWatch: boolean;
  readonly labelSelector: string;
}

export interface Gatekeeper {
  /** Throws 401, 403, or 500 if a review failed. */
  admit(request: Admission): Promise<void>;
  close(): void;
}

interface GatekeeperOptions {
  readonly mode: IdentityMode;
  readonly client: ClusterClient | null;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly retries: RetryOptions;
}

const HEALTH: ReadonlySet<string> = new Set(['healthz', 'livez', 'readyz']);

/** Rejects if whom to trust cannot be learned. */
export async function gatekeeper(options: GatekeeperOptions): Promise<Gatekeeper> {
  const { mode, client, clock, logger, registry, retries } = options;
  switch (mode.kind) {
    case 'none':
      return { admit: async () => {}, close: () => {} };
    case 'certificates': {
      const trust = trustOfFiles(mode.clientCaPem, mode.requestHeaderCaPem);
      const isKnown: AccessReviewer = async ({ groups }) => ({
        allowed: groups.includes('system:authenticated'),
        reason: '',
      });
      return gate({ trust: () => trust, reviewToken: null, clock }, counted(isKnown, registry), () => {});
    }
    default: {
      if (client === null) {
        throw new CodedError(
          'bad_config',
          'cannot delegate authentication: got no API server, want a cluster or a kubeconfig',
        );
      }
      const watched = new WatchedTrust(client, logger);
      await watched.start();
      const identity = { trust: () => watched.trust, reviewToken: tokenReviewer(client, clock, retries), clock };
      return gate(identity, counted(accessReviewer(client, clock, retries), registry), () => watched.stop());
    }
  }
}

function gate(identity: AuthenticatorOptions, reviewAccess: AccessReviewer, close: () => void): Gatekeeper {
  return {
    close,
    async admit(request) {
      if (request.segments.length === 1 && HEALTH.has(request.segments[0]!)) return;
      const user = await authenticate(request, identity);
      const attributes = attributesOf(request.method, request.segments, request.isWatch);
      await authorize(user, attributes, readableSelector(request.labelSelector), reviewAccess);
    },
  };
}

/**
 * One that cannot be read is refused later, by whoever uses it. The API server is asked about it as it was written and as it saw it
 * itself: our escape means nothing there, and what is escaped is no value of a label.
 */
function readableSelector(text: string): readonly Requirement[] {
  if (text === '') return [];
  try {
    return writtenRequirements(text);
  } catch {
    return [];
  }
}

function counted(reviewAccess: AccessReviewer, registry: Registry): AccessReviewer {
  const outcomes: Family<Cell> = registry.counter(
    'tidegauge_kubernetes_access_total',
    'Requests to the Kubernetes port that had to be authorized, by outcome: allowed, denied or failed.',
    'outcome',
  );
  return async (...request) => {
    try {
      const verdict = await reviewAccess(...request);
      outcomes.with(verdict.allowed ? 'allowed' : 'denied').value++;
      return verdict;
    } catch (error) {
      outcomes.with('failed').value++;
      throw error;
    }
  };
}
