/**
 * Names of OTLP metrics and attributes as Prometheus writes them: pure functions, one table of units.
 * Rules: prometheus/otlptranslator at 51da772 (metric_namer.go, unit_namer.go, label_namer.go).
 */
export const NAMING_STRATEGIES = [
  'UnderscoreEscapingWithSuffixes',
  'UnderscoreEscapingWithoutSuffixes',
  'NoUTF8EscapingWithSuffixes',
  'NoTranslation',
] as const;
export type NamingStrategy = (typeof NAMING_STRATEGIES)[number];

/** What the suffix of a name depends on; everything but these two has none. */
export type NamedType = 'gauge' | 'monotonic_sum' | 'other';

export interface MetricToName {
  readonly name: string;
  /** In UCUM, as OTLP has it: `By/s`. */
  readonly unit: string;
  readonly type: NamedType;
}

const MAIN_UNITS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    ...{
      d: 'days',
      h: 'hours',
      min: 'minutes',
      s: 'seconds',
      ms: 'milliseconds',
      us: 'microseconds',
      ns: 'nanoseconds',
    },
    ...{ By: 'bytes', KiBy: 'kibibytes', MiBy: 'mebibytes', GiBy: 'gibibytes', TiBy: 'tibibytes' },
    ...{ KBy: 'kilobytes', MBy: 'megabytes', GBy: 'gigabytes', TBy: 'terabytes' },
    ...{ m: 'meters', V: 'volts', A: 'amperes', J: 'joules', W: 'watts', g: 'grams' },
    ...{ Cel: 'celsius', Hz: 'hertz', '%': 'percent', 1: '' },
  }),
);
const PER_UNITS: ReadonlyMap<string, string> = new Map(
  Object.entries({ s: 'second', m: 'minute', h: 'hour', d: 'day', w: 'week', mo: 'month', y: 'year' }),
);

export function escapes(strategy: NamingStrategy): boolean {
  return strategy === 'UnderscoreEscapingWithSuffixes' || strategy === 'UnderscoreEscapingWithoutSuffixes';
}

/** The metric's name under the strategy, or null where no valid name comes out: see {@link metricNameError}. */
export function metricName(metric: MetricToName, strategy: NamingStrategy, namespace = ''): string | null {
  const name = translate(metric, strategy, namespace);
  return metricNameError(metric.name, name, strategy) === null ? name : null;
}

/** What is wrong with the name that a metric would get; null if nothing. */
export function metricNameError(received: string, name: string, strategy: NamingStrategy): string | null {
  const subject = `normalization for metric ${JSON.stringify(received)} resulted in`;
  if (name === '') return `${subject} empty name`;
  if (escapes(strategy) && name !== received && /^_+$/.test(name))
    return `${subject} invalid name ${JSON.stringify(name)}`;
  return null;
}

/** Translates without judging: the result may be empty or nothing but underscores. */
export function translate(metric: MetricToName, strategy: NamingStrategy, namespace = ''): string {
  switch (strategy) {
    case 'UnderscoreEscapingWithSuffixes':
      return escapedWithSuffixes(metric, namespace);
    case 'UnderscoreEscapingWithoutSuffixes':
      return escapedWithoutSuffixes(metric.name, namespace);
    case 'NoUTF8EscapingWithSuffixes':
      return keptWithSuffixes(metric, namespace);
    case 'NoTranslation':
      return prepend(namespace, metric.name);
  }
}

/** The unit in words, `bytes_per_second`, or ''. */
export function unitName(unit: string, strategy: NamingStrategy): string {
  const { main, per } = unitWords(unit);
  const words = escapes(strategy) ? [cleanUnit(main), cleanUnit(per)] : [main, per];
  return words.filter((word) => word !== '').join('_');
}

export interface LabelRules {
  /** Keep runs of underscores; otherwise they collapse, but for names like `__x__`. */
  readonly keepRuns: boolean;
  /** Put `key` in front of a single leading underscore. */
  readonly prefixUnderscore: boolean;
}

/** As Prometheus has them by default. */
export const LABEL_RULES: LabelRules = { keepRuns: true, prefixUnderscore: true };

/** The label name of an attribute, or null where none comes out: see {@link labelNameError}. */
export function labelName(key: string, strategy: NamingStrategy, rules = LABEL_RULES): string | null {
  if (!escapes(strategy)) return key === '' ? null : key;
  const name = escapeLabel(key, rules);
  return labelNameError(key, name) === null ? name : null;
}

/** What is wrong with the label name that an attribute would get; null if nothing. */
export function labelNameError(key: string, name: string): string | null {
  if (key === '') return 'label name is empty';
  if (name === key || !/^_+$/.test(name)) return null;
  return `normalization for label name ${JSON.stringify(key)} resulted in invalid name ${JSON.stringify(name)}`;
}

/** Escapes without judging. */
export function escapeLabel(key: string, rules: LabelRules): string {
  // By code point, so that a character outside of the Basic Multilingual Plane is one underscore.
  let name = key.replace(/[^A-Za-z0-9]/gu, '_');
  if (!rules.keepRuns && !/^__.*__$/.test(key)) name = name.replace(/_+/g, '_');
  if (/^[0-9]/.test(name)) return `key_${name}`;
  return rules.prefixUnderscore && /^_(?!_)/.test(name) && !/^_+$/.test(name) ? `key${name}` : name;
}

function escapedWithSuffixes({ name, unit, type }: MetricToName, namespace: string): string {
  let tokens = name.split(/[^A-Za-z0-9:]+/).filter((token) => token !== '');
  const words = unitWords(unit);
  const per = cleanUnit(words.per).replace(/_$/, '');
  const main = per === '' ? cleanUnit(words.main) : cleanUnit(words.main).replace(/_$/, '');
  const units = [tokens.includes(main) ? '' : main, per === 'per' || tokens.includes(per) ? '' : per];
  tokens.push(...units.filter((word) => word !== ''));
  if (type === 'monotonic_sum') tokens = [...tokens.filter((token) => token !== 'total'), 'total'];
  if (type === 'gauge' && unit === '1') tokens = [...tokens.filter((token) => token !== 'ratio'), 'ratio'];
  return notDigitFirst(prepend(namespace, tokens.join('_')));
}

function escapedWithoutSuffixes(received: string, namespace: string): string {
  const name = joinValid(received);
  return namespace === '' ? notDigitFirst(name) : prepend(joinValid(namespace), name);
}

function keptWithSuffixes({ name: received, unit, type }: MetricToName, namespace: string): string {
  const suffixes: string[] = [];
  let name = prepend(namespace, received);
  // From the outermost suffix to the innermost: what stands at the end already moves to its place.
  const move = (suffix: string): void => {
    if (name.endsWith(suffix) && name.length > suffix.length + 1) name = name.slice(0, -suffix.length - 1);
    suffixes.unshift(suffix);
  };
  if (type === 'gauge' && unit === '1') move('ratio');
  if (type === 'monotonic_sum') move('total');
  const { main, per } = unitWords(unit);
  if (per !== '') move(per);
  if (main !== '' && !name.endsWith(main)) suffixes.unshift(main);
  return [name, ...suffixes].join('_');
}

/** The words of a unit, `{ main: 'bytes', per: 'per_second' }`; '' for a part that is absent or an annotation. */
function unitWords(unit: string): { main: string; per: string } {
  const slash = unit.indexOf('/');
  const mainPart = unitPart(slash < 0 ? unit : unit.slice(0, slash));
  const perPart = unitPart(slash < 0 ? '' : unit.slice(slash + 1));
  const per = PER_UNITS.get(perPart) ?? perPart;
  return { main: MAIN_UNITS.get(mainPart) ?? mainPart, per: per === '' ? '' : `per_${per}` };
}

function unitPart(text: string): string {
  return /[{}]/.test(text) ? '' : text.trim();
}

function cleanUnit(text: string): string {
  return text
    .replace(/[^A-Za-z0-9:]/gu, '_')
    .replace(/_+/g, '_')
    .replace(/^_/, '');
}

function joinValid(text: string): string {
  return text
    .split(/[^A-Za-z0-9:_]+/)
    .filter((part) => part !== '')
    .join('_');
}

function prepend(namespace: string, name: string): string {
  return namespace === '' ? name : `${namespace}_${name}`;
}

function notDigitFirst(name: string): string {
  return /^[0-9]/.test(name) ? `_${name}` : name;
}
