/**
 * The grammar of PromQL as a Chevrotain parser that builds the tree of ast.ts in its actions (reference section 3).
 *
 * One token of lookahead everywhere, so that a syntax error is found at the very token that cannot stand there, as in
 * Prometheus' own parser. Binary operators are read as one flat list and nested by precedence afterwards
 * (precedence.ts). Faults that are no syntax errors (an unknown function, two offsets) are collected; parsing goes on.
 */
import { EmbeddedActionsParser, EOF, type IToken, type ParserMethod, type TokenType } from 'chevrotain';
import type { Matcher, MatchType } from '../../model/matcher.ts';
import type { AggregateExpr, AtModifier, DurationExpr, Expr, Span, VectorSelector } from './ast.ts';
import * as build from './build.ts';
import {
  type BinaryModifiers,
  NO_MODIFIERS,
  nestBinary,
  nestDuration,
  type Operand,
  type Operator,
} from './precedence.ts';
import { unquote } from './strings.ts';
import * as T from './tokens.ts';

interface Grouping {
  readonly without: boolean;
  readonly labels: readonly string[];
  readonly end: number;
}

interface Arguments {
  readonly exprs: readonly Expr[];
  readonly end: number;
}

export class Grammar extends EmbeddedActionsParser {
  faults: build.Faults = new build.Faults();
  /** Parentheses, calls and aggregations that may stand inside each other. */
  depthMax = Number.POSITIVE_INFINITY;
  #depth = 0;
  readonly #is = (type: TokenType, ahead = 1): boolean => this.LA(ahead).tokenType === type;

  constructor(options: { skipValidations: boolean }) {
    super(T.VOCABULARY, { maxLookahead: 1, recoveryEnabled: false, skipValidations: options.skipValidations });
    this.performSelfAnalysis();
  }

  /** Makes the parser ready for another text. */
  begin(tokens: IToken[], faults: build.Faults, depthMax: number): void {
    this.input = tokens;
    this.faults = faults;
    this.depthMax = depthMax;
    this.#depth = 0;
  }

  // ── Entry points ────────────────────────────────────────────────────────────────────────────────────────────────

  readonly query: ParserMethod<[], Expr> = this.RULE('query', () => {
    const expr = this.SUBRULE(this.expression);
    this.CONSUME(EOF);
    return expr;
  });

  readonly metricSelector: ParserMethod<[], VectorSelector> = this.RULE('metricSelector', () => {
    const selector = this.SUBRULE(this.selector);
    this.CONSUME(EOF);
    return selector;
  });

  // ── Operators ───────────────────────────────────────────────────────────────────────────────────────────────────

  readonly expression: ParserMethod<[], Expr> = this.RULE('expression', () => {
    const operands: Operand[] = [this.SUBRULE(this.operand)];
    const operators: Operator[] = [];
    this.MANY(() => {
      const token = this.CONSUME(T.BinaryOperator);
      const modifiers = this.SUBRULE(this.binaryModifiers);
      const operand = this.SUBRULE2(this.operand);
      this.ACTION(() => {
        operators.push({ token, modifiers });
        operands.push(operand);
      });
    });
    return this.ACTION(() =>
      operators.length === 0 && operands[0]!.signs.length === 0 ? operands[0]!.expr : nestBinary(operands, operators),
    );
  });

  readonly operand: ParserMethod<[], Operand> = this.RULE('operand', () => {
    const signs: IToken[] = [];
    this.MANY(() => {
      const sign = this.OR([{ ALT: () => this.CONSUME(T.Plus) }, { ALT: () => this.CONSUME(T.Minus) }]);
      this.ACTION(() => this.#checkDepth(signs.push(sign)));
    });
    return { signs, expr: this.SUBRULE(this.postfix) };
  });

  readonly binaryModifiers: ParserMethod<[], BinaryModifiers> = this.RULE('binaryModifiers', () => {
    let modifiers: BinaryModifiers = NO_MODIFIERS;
    this.OPTION(() => {
      this.CONSUME(T.Bool);
      modifiers = { ...modifiers, returnBool: true };
    });
    this.OPTION2(() => {
      const on =
        this.OR([{ ALT: () => this.CONSUME(T.On) }, { ALT: () => this.CONSUME(T.Ignoring) }]).tokenType === T.On;
      const labels = this.SUBRULE(this.groupingLabels).labels;
      modifiers = { ...modifiers, on, labels };
      this.OPTION3(() => {
        const side = this.CONSUME(T.GroupSide).image.toLowerCase() === 'group_left' ? 'many-to-one' : 'one-to-many';
        modifiers = { ...modifiers, cardinality: side, include: [] };
        // A parenthesis may also begin the right operand: yacc takes it as the list, and so do we.
        this.OPTION4(() => {
          modifiers = { ...modifiers, include: this.SUBRULE2(this.groupingLabels).labels };
        });
      });
    });
    const fills = this.SUBRULE(this.fillModifiers);
    return fills.left === null && fills.right === null
      ? modifiers
      : { ...modifiers, fillLeft: fills.left, fillRight: fills.right };
  });

  readonly fillModifiers: ParserMethod<[], { left: number | null; right: number | null }> = this.RULE(
    'fillModifiers',
    () => {
      let left = null as number | null;
      let right = null as number | null;
      this.OPTION(() => {
        this.OR([
          {
            ALT: () => {
              this.CONSUME(T.Fill);
              left = this.SUBRULE(this.fillValue);
              right = left;
            },
          },
          {
            ALT: () => {
              this.CONSUME(T.FillLeft);
              left = this.SUBRULE2(this.fillValue);
              this.OPTION2(() => {
                this.CONSUME(T.FillRight);
                right = this.SUBRULE3(this.fillValue);
              });
            },
          },
          {
            ALT: () => {
              this.CONSUME2(T.FillRight);
              right = this.SUBRULE4(this.fillValue);
              this.OPTION3(() => {
                this.CONSUME2(T.FillLeft);
                left = this.SUBRULE5(this.fillValue);
              });
            },
          },
        ]);
      });
      return { left, right };
    },
  );

  readonly fillValue: ParserMethod<[], number> = this.RULE('fillValue', () => {
    this.CONSUME(T.LeftParen);
    const value = this.SUBRULE(this.signedNumber);
    this.CONSUME(T.RightParen);
    return value;
  });

  readonly signedNumber: ParserMethod<[], number> = this.RULE('signedNumber', () => {
    let sign = 1;
    this.OPTION(() => {
      sign =
        this.OR([{ ALT: () => this.CONSUME(T.Plus) }, { ALT: () => this.CONSUME(T.Minus) }]).tokenType === T.Minus
          ? -1
          : 1;
    });
    const token = this.SUBRULE(this.numberToken);
    return this.ACTION(() => sign * build.numberLiteral(token, this.faults).value);
  });

  readonly numberToken: ParserMethod<[], IToken> = this.RULE('numberToken', () =>
    this.OR([{ ALT: () => this.CONSUME(T.NumberToken) }, { ALT: () => this.CONSUME(T.DurationToken) }]),
  );

  // ── Ranges, offset, @ ───────────────────────────────────────────────────────────────────────────────────────────

  readonly postfix: ParserMethod<[], Expr> = this.RULE('postfix', () => {
    let expr = this.SUBRULE(this.primary);
    this.MANY(() => {
      expr = this.OR([
        { ALT: () => this.SUBRULE(this.bracket, { ARGS: [expr] }) },
        { ALT: () => this.SUBRULE(this.offset, { ARGS: [expr] }) },
        { ALT: () => this.SUBRULE(this.at, { ARGS: [expr] }) },
        {
          ALT: () => {
            const word = this.CONSUME(T.EdgesWord);
            return this.ACTION(() => build.withEdges(expr, word, this.faults));
          },
        },
      ]);
    });
    return expr;
  });

  readonly bracket: ParserMethod<[Expr], Expr> = this.RULE('bracket', (expr: Expr) => {
    const open = this.CONSUME(T.LeftBracket);
    const range = this.SUBRULE(this.duration);
    let colon = false;
    let step: { node: DurationExpr | null } | null = null;
    this.OPTION(() => {
      this.CONSUME(T.Colon);
      colon = true;
      this.OPTION2(() => {
        step = { node: this.SUBRULE2(this.duration) };
      });
    });
    const close = this.CONSUME(T.RightBracket);
    return this.ACTION(() => {
      const parts = { expr, open, close: close as T.Token, range };
      return colon ? build.subquery({ ...parts, step }, this.faults) : build.matrix(parts, this.faults);
    });
  });

  readonly offset: ParserMethod<[Expr], Expr> = this.RULE('offset', (expr: Expr) => {
    this.CONSUME(T.Offset);
    const duration = this.SUBRULE(this.offsetDuration);
    return this.ACTION(() => build.withOffset(expr, duration, (this.LA(0) as T.Token).endOffset, this.faults));
  });

  readonly at: ParserMethod<[Expr], Expr> = this.RULE('at', (expr: Expr) => {
    this.CONSUME(T.AtSign);
    const at = this.OR([
      {
        ALT: (): AtModifier | null => {
          const word = this.CONSUME(T.QueryEnd);
          this.CONSUME(T.LeftParen);
          this.CONSUME(T.RightParen);
          return { kind: word.image.toLowerCase() === 'start' ? 'start' : 'end' };
        },
      },
      {
        ALT: (): AtModifier | null => {
          const seconds = this.SUBRULE(this.signedNumber);
          return this.ACTION(() => build.atTime(expr, seconds, this.faults));
        },
      },
    ]);
    return this.ACTION(() => build.withAt(expr, at, (this.LA(0) as T.Token).endOffset, this.faults));
  });

  readonly duration: ParserMethod<[], DurationExpr | null> = this.RULE('duration', () => {
    const operands = [this.SUBRULE(this.durationOperand)];
    const operators: IToken[] = [];
    this.MANY(() => {
      const operator = this.OR([
        { ALT: () => this.CONSUME(T.Plus) },
        { ALT: () => this.CONSUME(T.Minus) },
        { ALT: () => this.CONSUME(T.Times) },
        { ALT: () => this.CONSUME(T.Divide) },
        { ALT: () => this.CONSUME(T.Modulo) },
        { ALT: () => this.CONSUME(T.Power) },
      ]);
      const operand = this.SUBRULE2(this.durationOperand);
      this.ACTION(() => {
        operators.push(operator);
        operands.push(operand);
      });
    });
    return this.ACTION(() => nestDuration(operands, operators, this.faults));
  });

  readonly durationOperand: ParserMethod<[], { signs: IToken[]; node: DurationExpr | null }> = this.RULE(
    'durationOperand',
    () => {
      const signs: IToken[] = [];
      this.MANY(() => {
        const sign = this.OR([{ ALT: () => this.CONSUME(T.Plus) }, { ALT: () => this.CONSUME(T.Minus) }]);
        this.ACTION(() => this.#checkDepth(signs.push(sign)));
      });
      return { signs, node: this.SUBRULE(this.durationPrimary) };
    },
  );

  readonly durationPrimary: ParserMethod<[], DurationExpr | null> = this.RULE('durationPrimary', () =>
    this.OR<DurationExpr | null>([
      {
        ALT: () => {
          const token = this.SUBRULE(this.numberToken);
          return this.ACTION(() => build.durationNumber(token, this.faults));
        },
      },
      {
        ALT: () => {
          const word = this.CONSUME(T.StepOrRange) as T.Token;
          this.CONSUME(T.LeftParen);
          const close = this.CONSUME(T.RightParen) as T.Token;
          return this.ACTION(() => build.durationCall(word, [], close));
        },
      },
      {
        ALT: () => {
          const word = this.CONSUME(T.MinMaxOf) as T.Token;
          this.CONSUME2(T.LeftParen);
          const first = this.SUBRULE(this.duration);
          this.CONSUME(T.Comma);
          const second = this.SUBRULE2(this.duration);
          const close = this.CONSUME2(T.RightParen) as T.Token;
          return this.ACTION(() => build.durationCall(word, [first, second], close));
        },
      },
      {
        ALT: () => {
          const open = this.CONSUME3(T.LeftParen) as T.Token;
          this.ACTION(() => this.#enter());
          const inner = this.SUBRULE3(this.duration);
          const close = this.CONSUME3(T.RightParen) as T.Token;
          this.ACTION(() => this.#depth--);
          return this.ACTION(() => build.durationParen(open, inner, close));
        },
      },
    ]),
  );

  /** A duration behind `offset`: arithmetic needs parentheses. */
  readonly offsetDuration: ParserMethod<[], DurationExpr | null> = this.RULE('offsetDuration', () => {
    const signs: IToken[] = [];
    this.OPTION(() => {
      const sign = this.OR([{ ALT: () => this.CONSUME(T.Plus) }, { ALT: () => this.CONSUME(T.Minus) }]);
      this.ACTION(() => signs.push(sign));
    });
    const node = this.SUBRULE(this.durationPrimary);
    return this.ACTION(() => build.checkRange(nestDuration([{ signs, node }], [], this.faults), this.faults));
  });

  // ── Primaries ───────────────────────────────────────────────────────────────────────────────────────────────────

  readonly primary: ParserMethod<[], Expr> = this.RULE('primary', () =>
    this.OR<Expr>({
      IGNORE_AMBIGUITIES: true,
      DEF: [
        { GATE: () => this.#atAggregate(), ALT: () => this.SUBRULE(this.aggregate) },
        { GATE: () => this.#is(T.LeftParen, 2), ALT: () => this.SUBRULE(this.call) },
        { ALT: () => this.SUBRULE(this.selector) },
        {
          ALT: () => {
            const token = this.SUBRULE(this.numberToken);
            return this.ACTION(() => build.numberLiteral(token, this.faults));
          },
        },
        {
          ALT: () => {
            const token = this.CONSUME(T.StringToken) as T.Token;
            return this.ACTION((): Expr => ({ kind: 'string', value: unquote(token.image), ...build.spanOf(token) }));
          },
        },
        { ALT: () => this.SUBRULE(this.parens) },
      ],
    }),
  );

  #atAggregate(): boolean {
    if (!this.#is(T.Aggregator)) return false;
    return this.#is(T.LeftParen, 2) || this.#is(T.By, 2) || this.#is(T.Without, 2);
  }

  readonly parens: ParserMethod<[], Expr> = this.RULE('parens', () => {
    const open = this.CONSUME(T.LeftParen) as T.Token;
    this.ACTION(() => this.#enter());
    const expr = this.SUBRULE(this.expression);
    const close = this.CONSUME(T.RightParen) as T.Token;
    this.ACTION(() => this.#depth--);
    return this.ACTION((): Expr => ({ kind: 'paren', expr, start: open.startOffset, end: close.endOffset }));
  });

  readonly call: ParserMethod<[], Expr> = this.RULE('call', () => {
    const name = this.CONSUME(T.FunctionWord) as T.Token;
    const args = this.SUBRULE(this.callArguments);
    return this.ACTION(() => build.call(name, args.exprs, args.end, this.faults));
  });

  readonly callArguments: ParserMethod<[], Arguments> = this.RULE('callArguments', () => {
    const exprs: Expr[] = [];
    this.CONSUME(T.LeftParen);
    this.ACTION(() => this.#enter());
    let comma: IToken | null = null;
    this.OPTION(() => {
      const first = this.SUBRULE(this.expression);
      this.ACTION(() => exprs.push(first));
      this.MANY({
        GATE: () => !(this.#is(T.Comma) && this.#is(T.RightParen, 2)),
        DEF: () => {
          this.CONSUME(T.Comma);
          const next = this.SUBRULE2(this.expression);
          this.ACTION(() => exprs.push(next));
        },
      });
      this.OPTION2(() => {
        comma = this.CONSUME2(T.Comma);
      });
    });
    const close = this.CONSUME(T.RightParen) as T.Token;
    this.ACTION(() => {
      this.#depth--;
      if (comma !== null)
        this.faults.add(build.spanOf(comma as T.Token), 'trailing commas not allowed in function call args');
    });
    return { exprs, end: close.endOffset };
  });

  readonly aggregate: ParserMethod<[], Expr> = this.RULE('aggregate', () => {
    const op = this.CONSUME(T.Aggregator) as T.Token;
    let grouping: Grouping | null = null;
    this.OPTION(() => {
      grouping = this.SUBRULE(this.grouping);
    });
    const args = this.SUBRULE(this.callArguments);
    let end = args.end;
    this.OPTION2({
      GATE: () => grouping === null,
      DEF: () => {
        const after = this.SUBRULE2(this.grouping);
        grouping = after;
        end = after.end;
      },
    });
    return this.ACTION(() => {
      const clause = grouping as Grouping | null;
      const parts: Pick<AggregateExpr, 'without' | 'grouping'> & Span = {
        without: clause?.without ?? false,
        grouping: clause?.labels ?? null,
        start: op.startOffset,
        end,
      };
      return build.aggregate(op, parts, args.exprs, this.faults);
    });
  });

  readonly grouping: ParserMethod<[], Grouping> = this.RULE('grouping', () => {
    const without =
      this.OR([{ ALT: () => this.CONSUME(T.By) }, { ALT: () => this.CONSUME(T.Without) }]).tokenType === T.Without;
    const { labels, end } = this.SUBRULE(this.groupingLabels);
    return { without, labels, end };
  });

  readonly groupingLabels: ParserMethod<[], { labels: readonly string[]; end: number }> = this.RULE(
    'groupingLabels',
    () => {
      const labels: string[] = [];
      this.SUBRULE(this.groupingOpen);
      this.OPTION(() => {
        const first = this.SUBRULE(this.groupingLabel);
        this.ACTION(() => labels.push(first));
        this.MANY({
          GATE: () => !this.#is(T.RightParen, 2),
          DEF: () => {
            this.CONSUME(T.Comma);
            const next = this.SUBRULE2(this.groupingLabel);
            this.ACTION(() => labels.push(next));
          },
        });
        this.OPTION2(() => this.CONSUME2(T.Comma));
      });
      const close = this.CONSUME(T.RightParen) as T.Token;
      return { labels, end: close.endOffset };
    },
  );

  /** A rule of its own, so that an error here is told from one inside of the list. */
  readonly groupingOpen: ParserMethod<[], IToken> = this.RULE('groupingOpen', () => this.CONSUME(T.LeftParen));

  readonly groupingLabel: ParserMethod<[], string> = this.RULE('groupingLabel', () =>
    this.OR([
      { ALT: () => this.CONSUME(T.LabelWord).image },
      {
        ALT: () => {
          const token = this.CONSUME(T.StringToken) as T.Token;
          return this.ACTION(() => build.quotedLabel(token, this.faults));
        },
      },
    ]),
  );

  // ── Selectors ───────────────────────────────────────────────────────────────────────────────────────────────────

  readonly selector: ParserMethod<[], VectorSelector> = this.RULE('selector', () => {
    let name: T.Token | null = null;
    let matchers: { list: readonly Matcher[]; start: number; end: number } | null = null;
    this.OR([
      {
        ALT: () => {
          name = this.CONSUME(T.MetricWord) as T.Token;
          this.OPTION(() => {
            matchers = this.SUBRULE(this.labelMatchers);
          });
        },
      },
      {
        ALT: () => {
          matchers = this.SUBRULE2(this.labelMatchers);
        },
      },
    ]);
    return this.ACTION(() => build.selector(name, matchers));
  });

  readonly labelMatchers: ParserMethod<[], { list: readonly Matcher[]; start: number; end: number }> = this.RULE(
    'labelMatchers',
    () => {
      const list: Matcher[] = [];
      const open = this.CONSUME(T.LeftBrace) as T.Token;
      this.OPTION(() => {
        const first = this.SUBRULE(this.labelMatcher);
        this.ACTION(() => list.push(first));
        this.MANY({
          GATE: () => !this.#is(T.RightBrace, 2),
          DEF: () => {
            this.CONSUME(T.Comma);
            const next = this.SUBRULE2(this.labelMatcher);
            this.ACTION(() => list.push(next));
          },
        });
        this.OPTION2(() => this.CONSUME2(T.Comma));
      });
      const close = this.CONSUME(T.RightBrace) as T.Token;
      return { list, start: open.startOffset, end: close.endOffset };
    },
  );

  readonly labelMatcher: ParserMethod<[], Matcher> = this.RULE('labelMatcher', () =>
    this.OR([
      {
        ALT: () => {
          const name = this.CONSUME(T.Identifier) as T.Token;
          const op = this.CONSUME(T.MatchOperator);
          const value = this.CONSUME(T.StringToken) as T.Token;
          return this.ACTION(() => build.matcher(name, name.image, op.image as MatchType, value, this.faults));
        },
      },
      {
        ALT: () => {
          const name = this.CONSUME2(T.StringToken) as T.Token;
          let matcher: Matcher | null = null;
          this.OPTION(() => {
            const op = this.CONSUME2(T.MatchOperator);
            const value = this.CONSUME3(T.StringToken) as T.Token;
            matcher = this.ACTION(() =>
              build.matcher(name, unquote(name.image), op.image as MatchType, value, this.faults),
            );
          });
          return this.ACTION(() => matcher ?? build.nameMatcher(name));
        },
      },
    ]),
  );

  #enter(): void {
    this.#depth++;
    this.#checkDepth(this.#depth);
  }

  #checkDepth(depth: number): void {
    if (depth > this.depthMax) throw new build.TooDeep(this.depthMax);
  }
}
