/** Small parts that several pages use. */
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';

/** Nothing to show yet: what to do next, with a command to copy. */
export function Empty({ children, command }: { readonly children: ComponentChildren; readonly command: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(command);
    setCopied(true);
  };
  return (
    <div class="panel" data-empty>
      <p>{children}</p>
      <pre>{command}</pre>
      <button type="button" onClick={() => void copy().catch(() => setCopied(false))}>
        {copied ? 'Copied' : 'Copy'}
      </button>
    </div>
  );
}

/** Says that something takes long: seconds so far, and a way to stop it. */
export function Busy({ what, onCancel }: { readonly what: string; readonly onCancel?: () => void }) {
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    const began = performance.now();
    const timer = setInterval(() => setSeconds((performance.now() - began) / 1000), 100);
    return () => clearInterval(timer);
  }, []);
  return (
    <div role="status" class="row">
      <progress class="grow" aria-label={what} />
      <span class="soft">
        {what} {seconds.toFixed(1)} s
      </span>
      {onCancel === undefined ? null : (
        <button type="button" onClick={onCancel}>
          Cancel
        </button>
      )}
    </div>
  );
}

export function Failure({ error }: { readonly error: string }) {
  return (
    <p role="alert" class="error">
      {error}
    </p>
  );
}

/** Loads once for each `key`; what is loaded for an older key is left aside. */
export function useLoaded<T>(
  key: string,
  load: (signal: AbortSignal) => Promise<T>,
): { data: T | null; error: string } {
  const [state, setState] = useState<{ data: T | null; error: string }>({ data: null, error: '' });
  // the key says all that the load depends on
  useEffect(() => {
    const controller = new AbortController();
    setState({ data: null, error: '' });
    load(controller.signal).then(
      (data) => setState({ data, error: '' }),
      (error: Error) => {
        if (!controller.signal.aborted) setState({ data: null, error: error.message });
      },
    );
    return () => controller.abort();
  }, [key]);
  return state;
}

/** A little curve, with the target as a dashed line. */
export function Spark({
  points,
  target,
}: {
  readonly points: readonly (readonly [number, number | null])[];
  readonly target: number | null;
}) {
  const values = points.map(([, value]) => value).filter((value) => value !== null);
  const low = Math.min(0, ...values, target ?? 0);
  const high = Math.max(...values, target ?? 0, low + 1e-9);
  const from = points[0]?.[0] ?? 0;
  const span = Math.max(1, (points.at(-1)?.[0] ?? 0) - from);
  const y = (value: number): number => 26 - ((value - low) / (high - low)) * 24;
  const line = points.flatMap(([at, value]) =>
    value === null ? [] : [`${(((at - from) / span) * 118 + 1).toFixed(1)},${y(value).toFixed(1)}`],
  );
  return (
    <svg class="spark" viewBox="0 0 120 28" aria-hidden="true">
      {target === null ? null : <line x1="0" x2="120" y1={y(target)} y2={y(target)} />}
      <polyline points={line.join(' ')} />
    </svg>
  );
}
