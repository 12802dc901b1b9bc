import fc from 'fast-check';
import { test } from 'tap';
import { CodedError } from '../../src/model/errors.ts';
import { Grammar } from '../../src/promql/syntax/grammar.ts';
import { parseExpr, parseMetricSelector } from '../../src/promql/syntax/parse.ts';
import { prettyExpr, printExpr } from '../../src/promql/syntax/print.ts';
import { quote, unquote } from '../../src/promql/syntax/strings.ts';

const FEATURES = {
  experimentalFunctions: true,
  durationExpressions: true,
  extendedRangeSelectors: true,
  fillModifiers: true,
};
const STABLE = {
  experimentalFunctions: false,
  durationExpressions: true,
  extendedRangeSelectors: false,
  fillModifiers: false,
};
const OPTIONS = { features: FEATURES, depthMax: 128 };

function messageOf(parse: () => unknown): string {
  try {
    parse();
    return '';
  } catch (error) {
    if (error instanceof CodedError) return `${error.code} ${error.message}`;
    throw error;
  }
}

test('the grammar has no ambiguity that Chevrotain can find', async (t) => {
  t.doesNotThrow(() => new Grammar({ skipValidations: false }));
});

test('precedence and canonical text', async (t) => {
  /** Every operation in parentheses. */
  const f = (input: string, want: string) => t.equal(printExpr(parseExpr(input, OPTIONS)), want, input);
  f('a+b*c', 'a + b * c');
  f('SUM(X) BY (a,b,)', 'sum by (a, b) (X)');
  f('a  offset  1h30m', 'a offset 1h30m');
  f('a offset 90m @ 5', 'a @ 5.000 offset 1h30m');
  f('a{z="1",b=~"2"}[120]', 'a{b=~"2",z="1"}[2m]');
  f("{'a b'}", '{__name__="a b"}');
  f('{"a.b"=`x"y`}', '{"a.b"="x\\"y"}');
  f('a == BOOL b', 'a == bool b');
  f('a and on(x) b', 'a and on (x) b');
  f('0x10 + 0755 + 1_000 + 5m + .5', '16 + 493 + 1000 + 5m + 0.5');
  f('-Inf', '-Inf');
  f('+NaN', 'NaN');
  f('x[5m:]', 'x[5m:]');
  f('x # a comment\n+ y', 'x + y');
  f('sum', 'sum');
  f('by + offset + start + bool_metric', 'by + offset + start + bool_metric');
  f('sum by (sum, offset, on) (x)', 'sum by (sum, offset, on) (x)');
  f('1 - -1', '1 - -1');
});

test('operators nest by precedence', async (t) => {
  const f = (input: string, want: unknown) => t.strictSame(shape(input), want, input);
  f('a + b * c', ['+', 'a', ['*', 'b', 'c']]);
  f('a - b - c', ['-', ['-', 'a', 'b'], 'c']);
  f('a ^ b ^ c', ['^', 'a', ['^', 'b', 'c']]);
  f('-a ^ b', ['-', ['^', 'a', 'b']]);
  f('-a * b', ['*', ['-', 'a'], 'b']);
  f('a ^ -b * c', ['*', ['^', 'a', ['-', 'b']], 'c']);
  f('a or b and c unless d', ['or', 'a', ['unless', ['and', 'b', 'c'], 'd']]);
  f('a > b + c', ['>', 'a', ['+', 'b', 'c']]);
  f('a == b or c', ['or', ['==', 'a', 'b'], 'c']);
  f('a atan2 b + c', ['+', ['atan2', 'a', 'b'], 'c']);

  function shape(input: string): unknown {
    const of = (expr: ReturnType<typeof parseExpr>): unknown => {
      if (expr.kind === 'binary') return [expr.op, of(expr.lhs), of(expr.rhs)];
      return expr.kind === 'unary' ? [expr.op, of(expr.expr)] : printExpr(expr);
    };
    return of(parseExpr(input, OPTIONS));
  }
});

test('errors have the texts and positions of Prometheus', async (t) => {
  const f = (input: string, want: string) =>
    t.equal(
      messageOf(() => parseExpr(input, OPTIONS)),
      `bad_data ${want}`,
      input,
    );
  f('', '1:1: parse error: no expression found in input');
  f('1 +', '1:4: parse error: unexpected end of input');
  f('foo bar', '1:5: parse error: unexpected identifier "bar"');
  f('sum(foo bar)', '1:9: parse error: unexpected identifier "bar" in aggregation');
  f('sum by foo (x)', '1:8: parse error: unexpected identifier "foo" in grouping opts, expected "("');
  f('sum by (a b) (x)', '1:11: parse error: unexpected identifier "b" in grouping opts, expected "," or ")"');
  f('foo{a}', '1:6: parse error: unexpected "}" in label matching, expected label matching operator');
  f('foo{a="b" c="d"}', '1:11: parse error: unexpected identifier "c" in label matching, expected "," or "}"');
  f('foo{,}', '1:5: parse error: unexpected "," in label matching, expected identifier or "}"');
  f(
    'foo offset',
    '1:11: parse error: unexpected end of input in offset, expected number, duration, step(), or range()',
  );
  f('foo[5m:5m', '1:10: parse error: unclosed left bracket');
  f('foo[5m)', "1:8: parse error: unexpected right parenthesis ')'");
  f('foo[5m, 1]', '1:7: parse error: unexpected "," in subquery or range, expected ":" or "]"');
  f('rate(foo[5m)', '1:12: parse error: unexpected ")" in subquery or range, expected ":" or "]"');
  f('\n\n  nope(x)', '3:3: parse error: unknown function with name "nope"');
  f('"ä" + nope(x)', '1:8: parse error: unknown function with name "nope"');
  f('foo{a=~"("}', '1:5: parse error: error parsing regexp: missing closing ): `(`');
  f('rate(foo)', '1:6: parse error: expected type range vector in call to function "rate", got instant vector');
  f('foo + "x"', '1:7: parse error: binary expression must contain only scalar and instant vector types');
  f('1 == 1', '1:3: parse error: comparisons between scalars must use BOOL modifier');
  f('abs(x,)', '1:6: parse error: trailing commas not allowed in function call args');
  f('round(x, 1, 2)', '1:1: parse error: expected at most 2 argument(s) in call to "round", got 3');
  f('label_join(x)', '1:1: parse error: expected at least 3 argument(s) in call to "label_join", got 1');
  f('sum(rate(foo[5m])', '1:18: parse error: unclosed left parenthesis');
  f('café', "1:4: parse error: unexpected character: 'é'");
});

test('what is behind a switch says so', async (t) => {
  const f = (input: string, want: string) =>
    t.equal(
      messageOf(() => parseExpr(input, { features: STABLE, depthMax: 128 })),
      `bad_data ${want}`,
      input,
    );
  f(
    'limitk(1, x)',
    '1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions',
  );
  f('mad_over_time(x[1m])', '1:1: parse error: function "mad_over_time" is not enabled');
  f('rate(x[1m] anchored)', '1:6: parse error: anchored modifier is experimental and not enabled');
  f('x + fill(0) y', '1:1: parse error: binop fill modifiers are experimental and not enabled');
});

test('a selector stands alone', async (t) => {
  const f = (input: string, want: unknown) => t.strictSame(parseMetricSelector(input, OPTIONS).matchers, want, input);
  f('up', [{ type: '=', name: '__name__', value: 'up' }]);
  f('{a!="b"}', [{ type: '!=', name: 'a', value: 'b' }]);
  f('up{a=~"b|c"}', [
    { type: '=~', name: 'a', value: 'b|c' },
    { type: '=', name: '__name__', value: 'up' },
  ]);
  t.equal(
    messageOf(() => parseMetricSelector('sum(up)', OPTIONS)),
    'bad_data 1:4: parse error: unexpected "("',
  );
  t.equal(
    messageOf(() => parseMetricSelector('up[5m]', OPTIONS)),
    'bad_data 1:3: parse error: unexpected "["',
  );
});

test('nesting has an end, chains have not', async (t) => {
  const nested = (depth: number): string => `${'('.repeat(depth)}x${')'.repeat(depth)}`;
  t.doesNotThrow(() => parseExpr(nested(128), OPTIONS));
  t.match(
    messageOf(() => parseExpr(nested(129), OPTIONS)),
    /nested too deeply/,
  );
  t.match(
    messageOf(() => parseExpr(`${'-'.repeat(200)}x`, OPTIONS)),
    /nested too deeply/,
  );
  t.doesNotThrow(() => parseExpr(new Array(2000).fill('x').join('+'), OPTIONS));
});

// Inf is left out: it prints as +Inf, and the sign then binds less than a power, in Prometheus as well.
test('a printed expression parses to itself', async (t) => {
  const number = fc.oneof(fc.nat(1000).map(String), fc.constantFrom('NaN', '1.5', '5m'));
  const selector = fc.constantFrom(
    'a',
    'b{x="1"}',
    '{y=~"z.+"}',
    'c offset 5m',
    'd @ 10',
    'e{"l.x"!="é"} @ end() offset -1m',
  );
  const { expr } = fc.letrec<{ expr: string }>((tie) => ({
    expr: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      selector,
      fc
        .tuple(
          tie('expr'),
          fc.constantFrom('+', '-', '*', '/', '^', '%', '> bool', '== on (x)', '* on (x) group_left (y)'),
          selector,
        )
        .map(([a, op, b]) => `${a} ${op} ${b}`),
      fc.tuple(fc.constantFrom('sum', 'max by (x)', 'count without (y)'), tie('expr')).map(([op, a]) => `${op} (${a})`),
      fc.tuple(fc.constantFrom('abs', 'rate_'), tie('expr')).map(([, a]) => `abs(${a})`),
      fc.tuple(tie('expr'), number).map(([a, n]) => `(${a}) * ${n}`),
      selector.map((a) => `-${a}`),
      fc.tuple(tie('expr')).map(([a]) => `max_over_time((${a})[5m:1m])`),
    ),
  }));
  fc.assert(
    fc.property(expr, (text) => {
      const once = printExpr(parseExpr(text, OPTIONS));
      const pretty = prettyExpr(parseExpr(text, OPTIONS), 20);
      return printExpr(parseExpr(once, OPTIONS)) === once && printExpr(parseExpr(pretty, OPTIONS)) === once;
    }),
    { numRuns: 300 },
  );
  t.pass();
});

test('any text fails with one of our own errors, or parses', async (t) => {
  const piece = fc.constantFrom(
    ...'sum by ( ) { } [ ] , : + - * ^ == foo "x" = =~ 5m 1 offset @ start rate bool on é \\ # \n'.split(' '),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const message = messageOf(() => parseExpr(pieces.join(' '), OPTIONS));
      return message === '' || /^bad_data \d+:\d+: parse error: /.test(message);
    }),
    { numRuns: 3000 },
  );
  t.pass();
});

test('quoted strings', async (t) => {
  const f = (input: string, want: string) => t.equal(unquote(input), want, input);
  f('"a\\n\\"b"', 'a\n"b');
  f("'\\''", "'");
  f('`\\n`', '\\n');
  f('"\\x41\\101\\u00e9\\U0001F600"', 'AAé😀');
  f('"\\xc3\\xa9"', 'é');
  t.equal(quote('a"\\\n\x01é'), '"a\\"\\\\\\n\\x01é"');
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => unquote(quote(text)) === text));
});
