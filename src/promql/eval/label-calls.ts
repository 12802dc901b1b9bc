/** label_replace and label_join: label sets are rewritten when the call is bound; samples pass through (reference 8.5). */
import type { RE2JS } from 're2js';
import { CodedError } from '../../model/errors.ts';
import { type Labels, labelValue, METRIC_NAME } from '../../model/labels.ts';
import { compileRe2 } from '../../model/matcher.ts';
import { type Call, unparen } from '../syntax/ast.ts';
import { withLabel } from './matching.ts';
import { mergeEqual, type Rows, rowsOf } from './rows.ts';
import { LABEL_WORK, type Run, type Slices } from './run.ts';
import { type BoundVector, mapRows } from './vector.ts';

/** New labels of a row, or null to leave it as it is. */
type Rewrite = (labels: Labels) => Labels | null;

export function* bindLabelCall(run: Run, call: Call, child: BoundVector): Slices<BoundVector> {
  const strings = call.args.slice(1).map((arg) => {
    const literal = unparen(arg);
    return literal.kind === 'string' ? literal.value : '';
  });
  const rewrite = call.name === 'label_replace' ? replacement(strings) : joining(strings);
  const rows = yield* rewritten(run, child.rows, rewrite, strings[0]!);
  return mapRows(child, yield* mergeEqual(run, rows), 'merge', () => {});
}

function* rewritten(run: Run, rows: Rows, rewrite: Rewrite, destination: string): Slices<Rows> {
  const labels: Labels[] = [];
  const marks: boolean[] = [];
  for (let row = 0; row < rows.count; row++) {
    if (run.work(LABEL_WORK)) yield;
    const own = rows.labels(row);
    const changed = rewrite(own);
    labels.push(changed ?? own);
    // Whoever writes a name wants to keep it.
    marks.push(rows.marked(row) && !(changed !== null && destination === METRIC_NAME));
  }
  return rowsOf(labels, marks);
}

function replacement([destination, template, source, pattern]: readonly string[]): Rewrite {
  const regex = compileFor(pattern!);
  checkName(destination!, 'destination', 'label_replace');
  return (labels) => {
    const matcher = regex.matcher(labelValue(labels, source!));
    if (!matcher.matches()) return null;
    return withLabel(labels, destination!, expand(template!, matcher, regex));
  };
}

function compileFor(pattern: string): RE2JS {
  try {
    return compileRe2(pattern);
  } catch (cause) {
    throw new CodedError('query_failed', `invalid regular expression in label_replace(): ${pattern}`, { cause });
  }
}

type Groups = ReturnType<RE2JS['matcher']>;

/** Go's Regexp.Expand: `$1`, `${1}`, `$name`, `${name}`, `$$`; a name reaches as far as letters, digits and `_` do. */
function expand(template: string, matcher: Groups, regex: RE2JS): string {
  return template.replace(
    /\$(?:(\$)|([\p{L}\p{N}_]+)|\{([\p{L}\p{N}_]+)\})/gu,
    (_all, dollar?: string, bare?: string, braced?: string) => {
      if (dollar !== undefined) return '$';
      return groupText((bare ?? braced)!, matcher, regex);
    },
  );
}

function groupText(name: string, matcher: Groups, regex: RE2JS): string {
  if (/^\d+$/.test(name)) {
    const index = Number(name);
    return index <= regex.groupCount() ? (matcher.group(index) ?? '') : '';
  }
  return Object.hasOwn(regex.namedGroups(), name) ? (matcher.group(name) ?? '') : '';
}

function joining([destination, separator, ...sources]: readonly string[]): Rewrite {
  for (const source of sources) checkName(source, 'source', 'label_join');
  checkName(destination!, 'destination', 'label_join');
  return (labels) =>
    withLabel(labels, destination!, sources.map((source) => labelValue(labels, source)).join(separator));
}

/** A label name is any text of UTF-8 but the empty one; a lone surrogate stands for a byte that is no UTF-8. */
function checkName(name: string, role: string, call: string): void {
  if (name !== '' && !/[\ud800-\udfff]/u.test(name)) return;
  throw new CodedError('query_failed', `invalid ${role} label name in ${call}(): ${name}`);
}
