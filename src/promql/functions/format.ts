/** Numbers as Go prints them. */

/** `%g`: the shortest form, with an exponent below 1e-4 and from 1e21. */
export function formatG(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
  if (Object.is(value, -0)) return '-0';
  const exponent = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value)));
  if (exponent >= -4 && exponent < 21) return plainDecimal(value);
  return goExponent(value.toExponential());
}

/** `%.2g`: two significant digits. */
export function formatG2(value: number): string {
  if (!Number.isFinite(value) || value === 0) return formatG(value);
  const text = value.toExponential(1);
  const exponent = Number(text.slice(text.indexOf('e') + 1));
  if (exponent < -4 || exponent >= 2) return goExponent(text.replace(/\.0e/, 'e'));
  return String(Number(text));
}

function goExponent(text: string): string {
  const [mantissa, power] = text.split('e') as [string, string];
  return `${mantissa}e${power.startsWith('-') ? '-' : '+'}${power.replace(/^[+-]/, '').padStart(2, '0')}`;
}

/** `strconv.FormatFloat(v, 'f', -1, 64)`: the shortest form without an exponent. */
export function plainDecimal(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
  if (Object.is(value, -0)) return '-0';
  const text = String(value);
  const at = text.indexOf('e');
  if (at < 0) return text;
  const digits = text.slice(0, at).replace('-', '').replace('.', '');
  const power = Number(text.slice(at + 1));
  const sign = value < 0 ? '-' : '';
  if (power < 0) return `${sign}0.${'0'.repeat(-power - 1)}${digits}`;
  return sign + digits.padEnd(power + 1, '0');
}

/** A float as OpenMetrics writes it in label values: whole numbers have a `.0`. */
export function openMetricsFloat(value: number): string {
  const text = formatG(value);
  return /[.eN]|Inf/.test(text) ? text : `${text}.0`;
}
