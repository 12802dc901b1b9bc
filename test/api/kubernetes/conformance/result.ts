/** One case of a corpus: its id, and why it failed, or null. */
export interface CaseResult {
  readonly id: string;
  readonly fault: string | null;
}

/** Runs a case; what it throws is its fault. */
export async function runCase(id: string, run: () => string | null | Promise<string | null>): Promise<CaseResult> {
  try {
    return { id, fault: await run() };
  } catch (error) {
    return { id, fault: `threw ${error instanceof Error ? (error.stack ?? error.message) : String(error)}` };
  }
}

export function expectEqual(got: unknown, want: unknown): string | null {
  const a = JSON.stringify(got);
  const b = JSON.stringify(want);
  return a === b ? null : `got ${a}, want ${b}`;
}

/** The message of what is thrown, or null if nothing is. */
export function messageOf(work: () => unknown): string | null {
  try {
    work();
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
