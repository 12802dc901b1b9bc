/** Types of queries.mjs, as far as TypeScript uses it; the descriptions stand there. */
export function jobsOf(series: number): ReadonlySet<string>;
