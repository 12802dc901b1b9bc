import fc from 'fast-check';
import { test } from 'tap';
import {
  compileMatcher,
  compileRe2,
  compileRegex,
  type MatchType,
  matcherLiterals,
  matchesEmpty,
} from '../../src/model/matcher.ts';

test('matchers are anchored and follow RE2', async (t) => {
  const f = (type: MatchType, pattern: string, value: string, want: boolean) =>
    t.equal(compileMatcher({ type, name: 'x', value: pattern })(value), want, `${value} ${type} ${pattern}`);
  f('=', 'a', 'a', true);
  f('=', 'a', 'ab', false);
  f('!=', 'a', 'b', true);
  f('=~', 'a', 'ab', false);
  f('=~', 'a|b', 'b', true);
  f('=~', '(a|b)', 'b', true);
  f('=~', '(?:a|b)', 'c', false);
  f('=~', 'a|b.*', 'bcd', true);
  f('=~', 'a.*', 'a', true);
  f('=~', 'a.+', 'a', false);
  f('=~', '.*a', 'bba', true);
  f('=~', '.*a.*', 'bab', true);
  f('=~', '.+a.+', 'ab', false);
  f('=~', '.+a.+', 'aab', true);
  f('=~', '.*', '', true);
  f('=~', '.+', '', false);
  f('=~', '.', '\n', true);
  f('=~', 'a.b', 'a\nb', true);
  f('=~', '(?i)AbC', 'aBc', true);
  f('=~', '', '', true);
  f('=~', 'a||b', '', true);
  f('!~', 'a.*', 'b', true);
  f('=~', '5..', '503', true);
});

test('the fast paths agree with the engine', async (t) => {
  const atom = fc.constantFrom('a', 'b', 'ab', '.*', '.+', '.', '|', 'é', '\n');
  const seed = Date.now();
  t.comment(`seed ${seed}`);
  fc.assert(
    fc.property(
      fc.array(atom, { maxLength: 5 }),
      fc.array(fc.constantFrom('a', 'b', 'c', 'é', '\n'), { maxLength: 5 }),
      (atoms, chars) => {
        const pattern = atoms.join('');
        const value = chars.join('');
        return compileRegex(pattern)(value) === compileRe2(pattern).matches(value);
      },
    ),
    { seed, numRuns: 2000 },
  );
});

test('a hostile expression takes linear time and an invalid one is refused', async (t) => {
  const matches = compileRegex('(a+)+b');
  const beganMs = performance.now();
  t.equal(matches('a'.repeat(5000)), false);
  t.ok(performance.now() - beganMs < 2000);
  for (const invalid of ['(', 'a(?=b)', '\\1', '*'])
    t.throws(() => compileRegex(invalid), { code: 'bad_data', message: /error parsing regexp/ });
});

test('literals and the empty match are seen without running anything', async (t) => {
  t.strictSame(matcherLiterals({ type: '=~', name: 'x', value: 'a|b' }), ['a', 'b']);
  t.strictSame(matcherLiterals({ type: '=', name: 'x', value: 'a.b' }), ['a.b']);
  t.equal(matcherLiterals({ type: '=~', name: 'x', value: 'a.*' }), null);
  t.equal(matcherLiterals({ type: '!=', name: 'x', value: 'a' }), null);
  t.equal(matchesEmpty({ type: '=~', name: 'x', value: 'a|' }), true);
  t.equal(matchesEmpty({ type: '!=', name: 'x', value: 'a' }), true);
  t.equal(matchesEmpty({ type: '=', name: 'x', value: 'a' }), false);
});
