/** `format_query` and `parse_query`: what an expression says, without evaluating it. */
import { CodedError } from '../../model/errors.ts';
import { LIMITS } from '../../model/limits.ts';
import { SWITCHES, type Switch } from '../../promql/switches.ts';
import type { Expr } from '../../promql/syntax/ast.ts';
import type { Features } from '../../promql/syntax/check.ts';
import { parseExpr } from '../../promql/syntax/parse.ts';
import { prettyExpr } from '../../promql/syntax/print.ts';
import { type Answer, plain } from './envelope.ts';
import { inParameter, queryTextOf } from './parameters.ts';
import { treeOf } from './tree.ts';

/** Characters of a line, as Prometheus' own formatter has them. */
const WIDTH = 100;

export interface SyntaxDeps {
  /** Flags without their dashes; `enable-feature` names parts of the language that are switched on. */
  readonly flags: Readonly<Record<string, string>>;
}

export function answerFormat(deps: SyntaxDeps, form: URLSearchParams): Answer {
  return plain(prettyExpr(expressionOf(deps, form), WIDTH));
}

export function answerParse(deps: SyntaxDeps, form: URLSearchParams): Answer {
  return plain(treeOf(expressionOf(deps, form)));
}

function expressionOf({ flags }: SyntaxDeps, form: URLSearchParams): Expr {
  return inParameter('query', () => {
    const text = queryTextOf(form);
    if (Buffer.byteLength(text) > LIMITS.queryTextBytesMax) {
      throw new CodedError('bad_data', `cannot parse query: want at most ${LIMITS.queryTextBytesMax} bytes`);
    }
    return parseExpr(text, { features: featuresOf(flags['enable-feature'] ?? ''), depthMax: LIMITS.queryDepthMax });
  });
}

function featuresOf(enabled: string): Features {
  const names = enabled.split(',');
  const isOn = ({ isOn: byDefault, flag }: Switch): boolean => byDefault || names.includes(flag);
  return {
    experimentalFunctions: isOn(SWITCHES.experimentalFunctions),
    durationExpressions: isOn(SWITCHES.durationExpressions),
    extendedRangeSelectors: isOn(SWITCHES.extendedRangeSelectors),
    fillModifiers: isOn(SWITCHES.fillModifiers),
  };
}
