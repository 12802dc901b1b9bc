/**
 * The canonical text of a tree, on one line, and the pretty form, which splits what is longer than a line
 * (reference section 3). Source of the rules: prometheus/prometheus, promql/parser/{printer,prettier}.go.
 */
import { unreachable } from '../../model/errors.ts';
import { isLegacyLabelName } from '../../model/labels.ts';
import { formatDuration } from '../../model/time.ts';
import { plainDecimal } from '../functions/format.ts';
import type { AggregateExpr, AtModifier, BinaryExpr, DurationExpr, Expr, SubqueryExpr, VectorSelector } from './ast.ts';
import { quote } from './strings.ts';

export function printExpr(expr: Expr): string {
  switch (expr.kind) {
    case 'number':
      return printNumber(expr.value, expr.isDuration);
    case 'string':
      return quote(expr.value);
    case 'paren':
      return `(${printExpr(expr.expr)})`;
    case 'unary':
      return `${expr.op}${printExpr(expr.expr)}`;
    case 'binary':
      return `${printExpr(expr.lhs)} ${operatorText(expr)} ${printExpr(expr.rhs)}`;
    case 'aggregate':
      return `${aggregateHead(expr)}(${[expr.param, expr.expr].flatMap((arg) => (arg === null ? [] : [printExpr(arg)])).join(', ')})`;
    case 'call':
      return `${expr.name}(${expr.args.map(printExpr).join(', ')})`;
    case 'selector':
      return printSelector(expr) + modifiers(expr);
    case 'matrix':
      return `${printSelector(expr.selector)}[${printDuration(expr.range)}]${modifiers(expr.selector)}`;
    case 'subquery':
      return printExpr(expr.expr) + subqueryTail(expr);
    default:
      return unreachable(expr);
  }
}

function printNumber(value: number, isDuration: boolean): string {
  return isDuration ? formatDuration(Math.round(value * 1000)) : plainDecimal(value);
}

function aggregateHead({ op, without, grouping }: AggregateExpr): string {
  if (without) return `${op} without (${printLabels(grouping ?? [])}) `;
  return grouping === null || grouping.length === 0 ? op : `${op} by (${printLabels(grouping)}) `;
}

function printLabels(labels: readonly string[]): string {
  return labels.map(printLabel).join(', ');
}

function printLabel(label: string): string {
  return isLegacyLabelName(label) ? label : quote(label);
}

/** An operator with all that stands between its operands. */
function operatorText({ op, returnBool, matching }: BinaryExpr): string {
  const parts: string[] = [op];
  if (returnBool) parts.push('bool');
  const grouped = matching.cardinality === 'many-to-one' || matching.cardinality === 'one-to-many';
  const labels = matching.labels ?? [];
  if (matching.on || labels.length > 0 || grouped)
    parts.push(`${matching.on ? 'on' : 'ignoring'} (${printLabels(labels)})`);
  if (grouped)
    parts.push(
      `${matching.cardinality === 'many-to-one' ? 'group_left' : 'group_right'} (${printLabels(matching.include ?? [])})`,
    );
  const { fillLeft, fillRight } = matching;
  if (fillLeft !== null && fillLeft === fillRight) parts.push(`fill (${plainDecimal(fillLeft)})`);
  else {
    if (fillLeft !== null) parts.push(`fill_left (${plainDecimal(fillLeft)})`);
    if (fillRight !== null) parts.push(`fill_right (${plainDecimal(fillRight)})`);
  }
  return parts.join(' ');
}

function printSelector({ name, matchers }: VectorSelector): string {
  const inside = name === null ? matchers : matchers.slice(0, -1);
  const texts = inside.map((matcher) => `${printLabel(matcher.name)}${matcher.type}${quote(matcher.value)}`).sort();
  return texts.length === 0 ? (name ?? '{}') : `${name ?? ''}{${texts.join(',')}}`;
}

function modifiers(expr: Pick<VectorSelector, 'edges' | 'at' | 'offset'>): string {
  const edges = expr.edges === null ? '' : ` ${expr.edges}`;
  return edges + printAt(expr.at) + printOffset(expr.offset);
}

function subqueryTail({ range, step, at, offset }: SubqueryExpr): string {
  const stepText = step === null ? '' : printDuration(step);
  return `[${printDuration(range)}:${stepText}]${printAt(at)}${printOffset(offset)}`;
}

function printAt(at: AtModifier | null): string {
  if (at === null) return '';
  return at.kind === 'time' ? ` @ ${(at.timeMs / 1000).toFixed(3)}` : ` @ ${at.kind}()`;
}

function printOffset(offset: DurationExpr | null): string {
  if (offset === null || (offset.kind === 'duration-number' && offset.seconds === 0)) return '';
  return ` offset ${printDuration(offset)}`;
}

/** A duration; a bare literal is normalised, in arithmetic a number stays a number. */
function printDuration(duration: DurationExpr): string {
  if (duration.kind === 'duration-number') return formatDuration(Math.round(duration.seconds * 1000));
  return printDurationPart(duration);
}

function printDurationPart(duration: DurationExpr): string {
  switch (duration.kind) {
    case 'duration-number':
      return printNumber(duration.seconds, duration.isDuration);
    case 'duration-paren':
      return `(${printDurationPart(duration.inner)})`;
    case 'duration-negation':
      return `-${printDurationPart(duration.operand)}`;
    case 'duration-binary':
      return `${printDurationPart(duration.lhs)} ${duration.op} ${printDurationPart(duration.rhs)}`;
    case 'duration-call':
      return `${duration.name}(${duration.args.map(printDurationPart).join(', ')})`;
    default:
      return unreachable(duration);
  }
}

/** The pretty form: nodes longer than `width` characters are split over lines, indented by two spaces a level. */
export function prettyExpr(expr: Expr, width: number, level = 0): string {
  const indent = '  '.repeat(level);
  const line = printExpr(expr);
  if (expr.kind === 'unary') return `${indent}${expr.op}${prettyExpr(expr.expr, width, level).trim()}`;
  if (line.length <= width) return indent + line;
  const inner = (child: Expr): string => prettyExpr(child, width, level + 1);
  switch (expr.kind) {
    case 'aggregate': {
      const param = expr.param === null ? '' : `${inner(expr.param)},\n`;
      return `${indent}${aggregateHead(expr)}(\n${param}${inner(expr.expr)}\n${indent})`;
    }
    case 'binary':
      return `${inner(expr.lhs)}\n${indent}${operatorText(expr)}\n${inner(expr.rhs)}`;
    case 'call':
      return `${indent}${expr.name}(\n${expr.args.map(inner).join(',\n')}\n${indent})`;
    case 'paren':
      return `${indent}(\n${inner(expr.expr)}\n${indent})`;
    case 'subquery':
      return prettyExpr(expr.expr, width, level) + subqueryTail(expr);
    default:
      return indent + line;
  }
}
