/**
 * From a rule's `metricsQuery` and a request to PromQL. The template is filled in with a stand-in where the matchers go;
 * the text is parsed, and the stand-in becomes matchers in the tree. What a request says is therefore never pasted into
 * PromQL: only `.LabelValuesByName` puts values into the text, where all but letters, digits and `-_.|` is escaped.
 */
import { CodedError } from '../../../model/errors.ts';
import { LIMITS } from '../../../model/limits.ts';
import type { Matcher } from '../../../model/matcher.ts';
import { SWITCHES } from '../../../promql/switches.ts';
import type { Expr } from '../../../promql/syntax/ast.ts';
import { parseExpr, parseMetricSelector } from '../../../promql/syntax/parse.ts';
import { printExpr } from '../../../promql/syntax/print.ts';
import { executeTemplate } from '../go-template/execute.ts';
import { ExecError, goQuote } from '../go-template/functions.ts';
import type { Template } from '../go-template/parse.ts';
import { quoteRegex, type Requirement, toMatcher } from '../label-selector.ts';
import { parseNamed, RuleError } from './naming.ts';
import { mapMatchers } from './tree.ts';

/** A condition of a request: the matcher, and its value as the adapter would write it, which escapes nothing. */
export interface Condition {
  readonly matcher: Matcher;
  readonly plainValue: string;
}

export interface QueryParts {
  readonly series: string;
  /** In the order in which they are to stand. */
  readonly conditions: readonly Condition[];
  readonly groupBy: readonly string[];
}

export class MetricsQuery {
  readonly #template: Template;

  /** Throws `RuleError`. */
  constructor(text: string, seriesQuery: string) {
    const what = `unable to construct metrics query associated with series query ${goQuote(seriesQuery)}: unable to parse metrics query template ${goQuote(text)}`;
    this.#template = parseNamed('metrics-query', text, what);
  }

  /** PromQL with the matchers in place. Throws `RuleError` for what the template does, `bad_data` for what it makes. */
  promql(parts: QueryParts): string {
    return printExpr(this.expression(parts));
  }

  expression(parts: QueryParts): Expr {
    const text = this.#fill(parts);
    const expr = parseFilled(text);
    let found = 0;
    const filled = mapMatchers(expr, (matchers) =>
      matchers.flatMap((matcher) => {
        if (matcher.name !== STAND_IN) return [matcher];
        found++;
        return parts.conditions.map((condition) => condition.matcher);
      }),
    );
    if (found !== text.split(STAND_IN).length - 1) {
      throw new RuleError('cannot use .LabelMatchers: want it between the braces of a selector and nowhere else');
    }
    return filled;
  }

  /** The text that prometheus-adapter would make; for comparison only. */
  adapterText(parts: QueryParts): string {
    const matchers = parts.conditions.map(
      ({ matcher: { name, type }, plainValue }) => `${name}${type}${goQuote(plainValue)}`,
    );
    return this.#fill(parts).replaceAll(STAND_IN_MATCHER, () => matchers.join(','));
  }

  #fill({ series, conditions, groupBy }: QueryParts): string {
    try {
      const text = executeTemplate(
        this.#template,
        {
          Series: series,
          LabelMatchers: conditions.length === 0 ? '' : STAND_IN_MATCHER,
          LabelValuesByName: new Map(conditions.map(({ matcher, plainValue }) => [matcher.name, harmless(plainValue)])),
          GroupBy: groupBy.join(','),
          GroupBySlice: groupBy,
        },
        'naming.queryTemplateArgs',
      );
      if (text === '') throw new RuleError('empty query produced by metrics query template');
      return text;
    } catch (error) {
      if (error instanceof ExecError) throw new RuleError(`unable to execute metrics query template: ${error.message}`);
      throw error;
    }
  }
}

/** Label selectors cannot name it: their keys begin with a letter or digit. */
const STAND_IN = '__tidegauge_matchers__';
const STAND_IN_MATCHER = `${STAND_IN}=""`;
const PARSE = {
  features: {
    experimentalFunctions: SWITCHES.experimentalFunctions.isOn,
    durationExpressions: SWITCHES.durationExpressions.isOn,
    extendedRangeSelectors: SWITCHES.extendedRangeSelectors.isOn,
    fillModifiers: SWITCHES.fillModifiers.isOn,
  },
  depthMax: LIMITS.queryDepthMax,
};

/** Matchers of a rule's `seriesQuery`; throws `bad_data`. */
export function parseSeriesQuery(text: string): readonly Matcher[] {
  return parseMetricSelector(text, PARSE).matchers;
}

/** `{<<.LabelMatchers>>,x="1"}` begins with a comma if there are no matchers; that is forgiven. */
function parseFilled(text: string): Expr {
  try {
    return parseExpr(text, PARSE);
  } catch (error) {
    if (!(error instanceof CodedError) || !/\{\s*,/.test(text)) throw error;
    return parseExpr(text.replace(/\{\s*,/g, '{'), PARSE);
  }
}

/** Inside a string it means the same; outside of one it is no PromQL. */
function harmless(text: string): string {
  return text.replace(/[^-A-Za-z0-9_.|]/gu, (c) => `\\U${c.codePointAt(0)!.toString(16).padStart(8, '0')}`);
}

/** Throws `bad_data` for operators that PromQL does not have. */
export function conditionOf(requirement: Requirement): Condition {
  return { matcher: toMatcher(requirement), plainValue: requirement.values.join('|') };
}

/** One name is compared, several are alternatives, which keep their order. */
export function objectCondition(label: string, names: readonly string[]): Condition {
  const plainValue = names.join('|');
  if (names.length === 1) return { matcher: { type: '=', name: label, value: names[0]! }, plainValue };
  const value = names.map((name) => quoteRegex(name)).join('|');
  return { matcher: { type: '=~', name: label, value }, plainValue };
}

/** Whatever the object is called. */
export function anyObject(label: string): Condition {
  return { matcher: { type: '!=', name: label, value: '' }, plainValue: '' };
}
