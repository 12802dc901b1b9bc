/**
 * Relabelling: a list of rules over one set of labels, each of which changes a label or drops the whole set. Expressions
 * are RE2, anchored, `.` matches a newline.
 * Source: prometheus/prometheus, model/relabel/relabel.go, and Go's regexp.Expand.
 */
import { createHash } from 'node:crypto';
import { CodedError } from './errors.ts';
import { compileRe2 } from './matcher.ts';

export const RELABEL_ACTIONS = [
  'replace',
  'keep',
  'drop',
  'keepequal',
  'dropequal',
  'hashmod',
  'labelmap',
  'labeldrop',
  'labelkeep',
  'lowercase',
  'uppercase',
] as const;
export type RelabelAction = (typeof RELABEL_ACTIONS)[number];

/** A rule as it is written; Prometheus' defaults are {@link RELABEL_DEFAULTS}. */
export interface RelabelRule {
  readonly sourceLabels: readonly string[];
  readonly separator: string;
  readonly targetLabel: string;
  readonly regex: string;
  readonly modulus: number;
  readonly replacement: string;
  readonly action: RelabelAction;
}

export const RELABEL_DEFAULTS: RelabelRule = {
  sourceLabels: [],
  separator: ';',
  targetLabel: '',
  regex: '(.*)',
  modulus: 0,
  replacement: '$1',
  action: 'replace',
};

/** Applies rules to labels, in place; false if the labels are to be dropped. An empty value is an absent label. */
export type Relabel = (labels: Map<string, string>) => boolean;

const TARGETLESS: readonly RelabelAction[] = ['keep', 'drop', 'labelmap', 'labeldrop', 'labelkeep'];
const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
/** A target label of `replace` may be made of groups. */
const LABEL_TEMPLATE = /^(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+$/;

/** Compiles rules. Throws `bad_data` for a rule that cannot be used, with its number. */
export function compileRelabel(rules: readonly RelabelRule[]): Relabel {
  const compiled = rules.map((rule, i) => {
    try {
      return compileRule(rule);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new CodedError('bad_data', `cannot use relabel rule ${i + 1} (${rule.action}): ${reason}`, { cause });
    }
  });
  return (labels) => compiled.every((apply) => apply(labels));
}

function compileRule(rule: RelabelRule): Relabel {
  checkRule(rule);
  const regex = compileRe2(rule.regex);
  const { targetLabel } = rule;
  const source = (labels: Map<string, string>): string => sourceOf(rule, labels);
  switch (rule.action) {
    case 'keep':
      return (labels) => regex.matches(source(labels));
    case 'drop':
      return (labels) => !regex.matches(source(labels));
    case 'keepequal':
      return (labels) => source(labels) === (labels.get(targetLabel) ?? '');
    case 'dropequal':
      return (labels) => source(labels) !== (labels.get(targetLabel) ?? '');
    case 'lowercase':
      return (labels) => set(labels, targetLabel, source(labels).toLowerCase());
    case 'uppercase':
      return (labels) => set(labels, targetLabel, source(labels).toUpperCase());
    case 'hashmod':
      return (labels) => set(labels, targetLabel, hashMod(source(labels), rule.modulus));
    case 'labelmap':
      return (labels) => mapNames(labels, (name) => expanded(regex.matcher(name), rule.replacement));
    case 'labeldrop':
      return (labels) => dropNames(labels, (name) => regex.matches(name));
    case 'labelkeep':
      return (labels) => dropNames(labels, (name) => !regex.matches(name));
    case 'replace':
      return (labels) => replace(labels, rule, regex.matcher(source(labels)));
  }
}

function checkRule({ action, targetLabel, modulus }: RelabelRule): void {
  const want = (isRight: boolean, what: string): void => {
    if (!isRight) throw new CodedError('bad_data', `want ${what}`);
  };
  if (!TARGETLESS.includes(action)) {
    const isName = action === 'replace' ? LABEL_TEMPLATE.test(targetLabel) : LABEL_NAME.test(targetLabel);
    want(isName, `a target label, got ${JSON.stringify(targetLabel)}`);
  }
  if (action === 'hashmod') want(modulus > 0, 'a modulus above 0');
}

function sourceOf({ sourceLabels, separator }: RelabelRule, labels: Map<string, string>): string {
  return sourceLabels.map((name) => labels.get(name) ?? '').join(separator);
}

function set(labels: Map<string, string>, name: string, value: string): true {
  if (value === '') labels.delete(name);
  else labels.set(name, value);
  return true;
}

function replace(labels: Map<string, string>, rule: RelabelRule, match: Match): true {
  if (!match.matches()) return true;
  const target = expandGroups(rule.targetLabel, match);
  if (!LABEL_NAME.test(target)) return true;
  return set(labels, target, expandGroups(rule.replacement, match));
}

function mapNames(labels: Map<string, string>, nameOf: (name: string) => string | null): true {
  for (const [name, value] of [...labels]) {
    const mapped = nameOf(name);
    if (mapped !== null && mapped !== '') labels.set(mapped, value);
  }
  return true;
}

function dropNames(labels: Map<string, string>, isDropped: (name: string) => boolean): true {
  for (const name of [...labels.keys()]) if (isDropped(name)) labels.delete(name);
  return true;
}

/** The last eight bytes of the MD5 of the text, as Prometheus shards by. */
function hashMod(text: string, modulus: number): string {
  const hash = createHash('md5').update(text).digest();
  return String(hash.readBigUInt64BE(8) % BigInt(modulus));
}

interface Match {
  matches(): boolean;
  groupCount(): number;
  group(group: number | string): string | null;
}

function expanded(match: Match, template: string): string | null {
  return match.matches() ? expandGroups(template, match) : null;
}

/** `$1`, `${1}`, `$name`, `${name}`, `$$`; a group that does not exist is empty. */
function expandGroups(template: string, match: Match): string {
  if (!template.includes('$')) return template;
  return template.replace(/\$(?:\$|\{(\w+)\}|(\w+))/g, (_, braced?: string, bare?: string) => {
    const name = braced ?? bare;
    return name === undefined ? '$' : (groupOf(match, name) ?? '');
  });
}

function groupOf(match: Match, name: string): string | null {
  if (/^\d+$/.test(name)) return Number(name) <= match.groupCount() ? match.group(Number(name)) : '';
  try {
    return match.group(name);
  } catch {
    return ''; // No group of this name.
  }
}
