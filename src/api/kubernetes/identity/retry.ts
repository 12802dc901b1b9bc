/** Reviews by the API server: asked again when there is no answer, as Kubernetes' own servers do. */
import { LIMITS } from '../../../model/limits.ts';
import { type Answer, ClusterError, statusText } from '../cluster/client.ts';

export interface RetryOptions {
  readonly tries: number;
  readonly firstPauseMs: number;
  /** Between 0 and 1, so that many do not ask again at once. */
  readonly random: () => number;
}

export const REVIEW_RETRIES: RetryOptions = { tries: 5, firstPauseMs: 500, random: Math.random };

const FACTOR = 1.5;
const JITTER = 0.2;

/** The body of a 2xx answer; rejects with `ClusterError`. However often it is asked: nobody waits longer than for one answer. */
export async function review(
  ask: (totalMs: number) => Promise<Answer>,
  { tries, firstPauseMs, random }: RetryOptions,
): Promise<unknown> {
  const endMs = performance.now() + LIMITS.clusterTimeoutMs;
  for (let attempt = 1; ; attempt++) {
    const error = await outcome(() => ask(Math.max(1, endMs - performance.now())));
    if (!(error instanceof ClusterError)) return error.body;
    if (attempt >= tries || !isWorthRepeating(error)) throw error;
    const pauseMs = firstPauseMs * FACTOR ** (attempt - 1) * (1 + JITTER * random());
    if (performance.now() + pauseMs >= endMs) throw error;
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

async function outcome(ask: () => Promise<Answer>): Promise<{ readonly body: unknown } | ClusterError> {
  try {
    const { status, body } = await ask();
    if (status >= 200 && status < 300) return { body };
    return new ClusterError(status, `the API server refused a review: ${statusText(status, body)}`);
  } catch (error) {
    if (error instanceof ClusterError) return error;
    throw error;
  }
}

function isWorthRepeating({ status }: ClusterError): boolean {
  return status === null || status >= 500 || status === 429;
}
