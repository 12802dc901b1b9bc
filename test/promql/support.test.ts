/**
 * docs/promql-support.md lists what the tables of the code say. `TIDEGAUGE_UPDATE_DOCS=1` writes the tables again instead
 * of comparing them.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { FUNCTIONS, type FunctionInfo } from '../../src/promql/functions/table.ts';
import { SWITCHES } from '../../src/promql/switches.ts';
import { tryParseExpr } from '../../src/promql/syntax/parse.ts';
import { AGGREGATORS, KEYWORDS } from '../../src/promql/syntax/tokens.ts';

const FILE = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'docs', 'promql-support.md');
const UPDATE = process.env.TIDEGAUGE_UPDATE_DOCS === '1';

type Table = readonly (readonly string[])[];

const TABLES: Readonly<Record<string, () => Table>> = {
  switches: () => [
    ['Prometheus’ flag', 'default', 'covers'],
    ...Object.values(SWITCHES).map(({ flag, isOn, covers }) => [`\`${flag}\``, isOn ? 'on' : 'off', covers]),
  ],
  functions: () => [
    ['function', 'arguments', 'returns', ''],
    ...[...FUNCTIONS.values()]
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map((info) => [`\`${info.name}\``, argumentsOf(info), info.returns, info.experimental ? 'experimental' : '']),
  ],
  aggregators: () => [
    ['aggregator', ''],
    ...AGGREGATORS.map((name) => [`\`${name}\``, needsSwitch(name) ? 'experimental' : '']),
  ],
  operators: () => [
    ['operators', 'between'],
    ['`+` `-` `*` `/` `%` `^` `atan2`', 'scalars, vectors; `+` `-` histograms, `*` `/` a histogram and a number'],
    ['`==` `!=` `<` `<=` `>` `>=`', 'scalars (with `bool`), vectors; `==` `!=` histograms'],
    ['`</` `>/`', 'a histogram and a number: what lies below or above it'],
    ['`and` `or` `unless`', 'vectors'],
    ['modifiers', modifiers()],
  ],
};

function argumentsOf({ args, variadic }: FunctionInfo): string {
  if (args.length === 0) return '';
  const optional = variadic === 0 ? 0 : 1;
  const texts = args.map((type, i) => {
    if (i < args.length - optional) return type;
    return variadic < 0 || variadic > 1 ? `[${type} …]` : `[${type}]`;
  });
  const more = variadic > 1 ? `, up to ${args.length - 1 + variadic} arguments` : '';
  return texts.join(', ') + more;
}

/** True if the parser takes an aggregator only with its switch on. */
function needsSwitch(name: string): boolean {
  const param = name === 'count_values' ? '"v", ' : /^(top|bottom|limit|quantile)/.test(name) ? '1, ' : '';
  const features = {
    experimentalFunctions: false,
    durationExpressions: true,
    extendedRangeSelectors: true,
    fillModifiers: true,
  };
  return tryParseExpr(`${name}(${param}x)`, { features, depthMax: 10 }).faults.length > 0;
}

function modifiers(): string {
  const words = [...KEYWORDS.keys()].filter(
    (word) => !AGGREGATORS.includes(word) && !/^(and|or|unless|atan2|inf|nan|start|end|step|range|.*_of)$/.test(word),
  );
  return ['@', ...words].map((word) => `\`${word}\``).join(' ');
}

function markdown([head, ...rows]: Table): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head!), `|${'---|'.repeat(head!.length)}`, ...rows.map(line)].join('\n');
}

test('docs/promql-support.md lists what there is', async (t) => {
  const text = readFileSync(FILE, 'utf8');
  let want = text;
  for (const [name, table] of Object.entries(TABLES)) {
    const section = new RegExp(`(<!-- ${name} -->\n)(?:\n(?:\\|.*\n)+)?`);
    t.match(text, section, `it has a place for ${name}`);
    want = want.replace(section, (_all, mark: string) => `${mark}\n${markdown(table())}\n`);
  }
  if (UPDATE) writeFileSync(FILE, want);
  else t.equal(text, want, 'its tables say what the code says');
});
