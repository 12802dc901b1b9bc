/** Functions of one value (reference sections 4 and 8.6): value in, value out, where both are floats. */

/** Two-argument operators that Go computes otherwise than JavaScript. */
export function power(base: number, exponent: number): number {
  // In C and Go 1 ** x and (-1) ** ±Inf are 1; in JavaScript they are NaN.
  if (base === 1) return 1;
  if (base === -1 && (exponent === Infinity || exponent === -Infinity)) return 1;
  return base ** exponent;
}

/** Go's math.Max: +Inf wins over NaN. */
export function goMax(a: number, b: number): number {
  return a === Infinity || b === Infinity ? Infinity : Math.max(a, b);
}

/** Go's math.Min: -Inf wins over NaN. */
export function goMin(a: number, b: number): number {
  return a === -Infinity || b === -Infinity ? -Infinity : Math.min(a, b);
}

export const MATH: ReadonlyMap<string, (value: number) => number> = new Map([
  ['abs', Math.abs],
  ['ceil', Math.ceil],
  ['floor', Math.floor],
  ['exp', Math.exp],
  ['ln', Math.log],
  ['log2', Math.log2],
  ['log10', Math.log10],
  ['sqrt', Math.sqrt],
  ['sgn', (value: number) => (value < 0 ? -1 : value > 0 ? 1 : value)],
  ['sin', Math.sin],
  ['cos', Math.cos],
  ['tan', Math.tan],
  ['asin', Math.asin],
  ['acos', Math.acos],
  ['atan', Math.atan],
  ['sinh', Math.sinh],
  ['cosh', Math.cosh],
  ['tanh', Math.tanh],
  ['asinh', Math.asinh],
  ['acosh', Math.acosh],
  ['atanh', Math.atanh],
  ['deg', (value: number) => (value * 180) / Math.PI],
  ['rad', (value: number) => (value * Math.PI) / 180],
]);

/** Rounds to the nearest multiple; ties go up. */
export function roundTo(value: number, toNearest: number): number {
  // As Prometheus has it: the inverse keeps decimal fractions exact.
  const inverse = 1 / toNearest;
  return Math.floor(value * inverse + 0.5) / inverse;
}
