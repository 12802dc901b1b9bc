/** `format_query` and `parse_query`: what an expression says, without evaluating it. */
import { CodedError } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import { SWITCHES } from '../../promql/switches.ts';
import type { Expr } from '../../promql/syntax/ast.ts';
import { parseExpr } from '../../promql/syntax/parse.ts';
import { prettyExpr } from '../../promql/syntax/print.ts';
import { type Answer, plain } from './envelope.ts';
import { inParameter, queryTextOf } from './parameters.ts';
import { treeOf } from './tree.ts';

/** Characters of a line, as Prometheus' own formatter has them. */
const WIDTH = 100;
const FEATURES = {
  experimentalFunctions: SWITCHES.experimentalFunctions.isOn,
  durationExpressions: SWITCHES.durationExpressions.isOn,
  extendedRangeSelectors: SWITCHES.extendedRangeSelectors.isOn,
  fillModifiers: SWITCHES.fillModifiers.isOn,
};

export function answerFormat(form: URLSearchParams): Answer {
  return plain(prettyExpr(expressionOf(form), WIDTH));
}

export function answerParse(form: URLSearchParams): Answer {
  return plain(treeOf(expressionOf(form)));
}

function expressionOf(form: URLSearchParams): Expr {
  return inParameter('query', () => {
    const text = queryTextOf(form);
    if (Buffer.byteLength(text) > LIMITS.queryTextBytesMax) {
      throw new CodedError('bad_data', `cannot parse query: want at most ${LIMITS.queryTextBytesMax} bytes`);
    }
    return parseExpr(text, { features: FEATURES, depthMax: LIMITS.queryDepthMax });
  });
}
