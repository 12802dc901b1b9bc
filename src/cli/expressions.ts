/** Reads expressions as the daemon does, to say beforehand what it would say. */
import { LIMITS } from '../model/limits.ts';
import type { Matcher } from '../model/matcher.ts';
import { SWITCHES } from '../promql/switches.ts';
import { typeOf } from '../promql/syntax/check.ts';
import { parseExpr, parseMetricSelector } from '../promql/syntax/parse.ts';

const OPTIONS = {
  depthMax: LIMITS.queryDepthMax,
  features: {
    experimentalFunctions: SWITCHES.experimentalFunctions.isOn,
    durationExpressions: SWITCHES.durationExpressions.isOn,
    extendedRangeSelectors: SWITCHES.extendedRangeSelectors.isOn,
    fillModifiers: SWITCHES.fillModifiers.isOn,
  },
};

/** The type of an expression. Throws `bad_data`. */
export function readExpression(text: string): string {
  return typeOf(parseExpr(text, OPTIONS));
}

/** Throws `bad_data`. */
export function parseSelectorText(text: string): readonly Matcher[] {
  return parseMetricSelector(text, OPTIONS).matchers;
}
