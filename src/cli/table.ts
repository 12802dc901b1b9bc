/** Text in columns, and curves in characters. */

/** Columns as wide as they need; those that `right` names stand to the right. */
export function tableText(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly string[] = [],
): string {
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => (right.includes(head[i]!) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd();
  return `${[head, ...rows].map(line).join('\n')}\n`;
}

/** Dots of a braille character, from the top left: its two columns of four. */
const DOTS = [
  [0x01, 0x02, 0x04, 0x40],
  [0x08, 0x10, 0x20, 0x80],
] as const;

/** A curve of values (null: no point) in braille, `columns` × `rows` characters, with its greatest and least value. */
export function plotText(values: readonly (number | null)[], columns: number, rows: number): string {
  const known = values.filter((value) => value !== null && Number.isFinite(value)) as number[];
  if (known.length === 0) return '(no points)\n';
  const low = Math.min(...known);
  const high = Math.max(...known);
  const cells = Array.from({ length: rows }, () => new Array<number>(columns).fill(0));
  for (let x = 0; x < columns * 2; x++) {
    const value = values[Math.min(values.length - 1, Math.floor((x / (columns * 2)) * values.length))];
    if (value === null || value === undefined || !Number.isFinite(value)) continue;
    const share = high === low ? 0.5 : (value - low) / (high - low);
    const y = Math.round((1 - share) * (rows * 4 - 1));
    cells[y >> 2]![x >> 1]! |= DOTS[x & 1]![y & 3]!;
  }
  const labels = cells.map((_, i) => (i === 0 ? short(high) : i === rows - 1 ? short(low) : ''));
  const width = Math.max(...labels.map((label) => label.length));
  return `${cells.map((row, i) => `${labels[i]!.padStart(width)} ┤${row.map((dots) => String.fromCodePoint(0x2800 + dots)).join('')}`).join('\n')}\n`;
}

export function short(value: number | null): string {
  return value === null ? '-' : String(Number(value.toPrecision(5)));
}
