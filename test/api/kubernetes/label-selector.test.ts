import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { test } from 'tap';
import { parseLabelSelector } from '../../../src/api/kubernetes/label-selector.ts';
import { CodedError } from '../../../src/model/errors.ts';
import { compileMatcher } from '../../../src/model/matcher.ts';

test('a label selector becomes matchers, sorted by key', async (t) => {
  const f = (selector: string, ...want: readonly string[]) => {
    const got = parseLabelSelector(selector).map(({ type, name, value }) => `${name}${type}${value}`);
    t.strictSame(got, want, selector);
  };
  f('');
  f('a=v', 'a=v');
  f('a==v', 'a=v');
  f('a!=v', 'a!=v');
  f('a', 'a!=');
  f('!a', 'a=');
  f('a=', 'a=');
  f('a in (w,v,w)', 'a=~v|w');
  f('a notin (v)', 'a!~v');
  f('a in ()', 'a=~');
  f('a in (,b)', 'a=~|b');
  f('a in (b,,c)', 'a=~|b|c');
  f('version in (v1.2,v1.3)', 'version=~v1\\.2|v1\\.3');
  f('in in (in,notin)', 'in=~in|notin');
  f('notin', 'notin!=');
  f(' z = 1 ,\tm in( b , a ),! a ', 'a=', 'm=~a|b', 'z=1');
  f('a!=x,a!=y', 'a!=x', 'a!=y');
  f('app.kubernetes.io/name=web', 'app.kubernetes.io/name=web');
});

test('values that selectors cannot carry come in hexadecimal', async (t) => {
  const hex = (text: string) => Buffer.from(text).toString('hex');
  const f = (selector: string, ...want: readonly string[]) => {
    const got = parseLabelSelector(selector).map(({ type, name, value }) => `${name}${type}${value}`);
    t.strictSame(got, want, selector);
  };
  f('hex.tidegauge.dev/uri=2f76312f6c6f67696e', 'uri=/v1/login');
  f(`hex.tidegauge.dev/uri!=${hex('ü x')}`, 'uri!=ü x');
  f(`hex.tidegauge.dev/uri in (${hex('/b')},${hex('/a.*')})`, 'uri=~/a\\.\\*|/b');
  f(`hex.tidegauge.dev/uri notin (${hex('a|b')})`, 'uri!~a\\|b');
  f('hex.tidegauge.dev/uri=', 'uri=');
  f('hex.tidegauge.dev/uri', 'uri!=');
  f('!hex.tidegauge.dev/uri', 'uri=');
  f(`hex.tidegauge.dev/quoted=${hex('",x="')}`, 'quoted=",x="');
  f(`hex.tidegauge.dev/long=${hex('x'.repeat(31))}`, `long=${'x'.repeat(31)}`);
  const bad = (value: string, message: RegExp) =>
    t.throws(() => parseLabelSelector(`hex.tidegauge.dev/uri=${value}`), { code: 'bad_data', message }, value);
  bad('2f7', /^cannot read the value of hex\.tidegauge\.dev\/uri: got "2f7", want UTF-8 in hexadecimal$/);
  bad('login', /want UTF-8 in hexadecimal/);
  bad('ff', /want UTF-8 in hexadecimal/);
  bad(hex('x'.repeat(32)), /must be no more than 63 bytes/);
});

test('values stand for themselves inside a regular expression', async (t) => {
  const matches = compileMatcher(parseLabelSelector('v in (v1.2)')[0]!);
  t.ok(matches('v1.2'));
  t.notOk(matches('v1x2'));
});

test('a selector that is none says why, in the words of Kubernetes', async (t) => {
  const f = (selector: string, message: string | RegExp) =>
    t.throws(() => parseLabelSelector(selector), { code: 'bad_data', message }, selector);
  f('a===b', "unable to parse requirement: found '=', expected: identifier");
  f('a=b=c', "found '=', expected: ',' or 'end of string'");
  f('!', "unable to parse requirement: found '', expected: identifier");
  f('!!a', "unable to parse requirement: found '!', expected: identifier");
  f('a gt 5', "unable to parse requirement: found 'gt', expected: in, notin, =, ==, !=, gt, lt");
  f('a in (b', "unable to parse requirement: found '', expected: ',' or ')'");
  f('a in b', "unable to parse requirement: found 'b' expected: '('");
  f('a in (b))', "found ')', expected: ',' or 'end of string'");
  f('a,', "found '', expected: identifier after ','");
  f(',a', "found ',', expected: !, identifier, or 'end of string'");
  f('a>x', /for 'Gt', 'Lt' operators, the value must be an integer$/);
  f('a>5', /^operator ">" is not supported/);
  f('a=b:c', /^unable to parse requirement: values\[0]\[a]: Invalid value: "b:c": a valid label must be/);
  f('__name__=x', /^unable to parse requirement: <nil>: Invalid value: "__name__": name part must consist of/);
});

test('any text is a selector or a coded error', async (t) => {
  const text = fc
    .array(fc.constantFrom('a', 'b.c', 'in', 'notin', '=', '!', '(', ')', ',', ' ', '<', '/', 'é'))
    .map((parts) => parts.join(''));
  const property = fc.property(text, (selector) => {
    try {
      for (const matcher of parseLabelSelector(selector)) compileMatcher(matcher);
      return true;
    } catch (error) {
      return error instanceof CodedError && error.code === 'bad_data';
    }
  });
  t.doesNotThrow(() => fc.assert(property, { verbose: true, numRuns: 2000 }));
});

interface SelectorCase {
  readonly id: string;
  readonly selector: string;
  readonly matchers?: readonly { readonly label: string; readonly op: string; readonly value: string }[];
  readonly error?: { readonly message?: string; readonly messageContains?: string; readonly detailContains?: string };
}

const conformance = process.env.TIDEGAUGE_CONFORMANCE;

test('conformance cases', { skip: conformance === undefined && 'TIDEGAUGE_CONFORMANCE names no folder' }, async (t) => {
  const file = readFileSync(join(conformance!, 'kubernetes', 'selectors.json'), 'utf8');
  const { selectors } = JSON.parse(file) as { readonly selectors: readonly SelectorCase[] };
  for (const { id, selector, matchers, error } of selectors) {
    if (matchers !== undefined) {
      // The cases write values as prometheus-adapter does, without quoting them.
      const got = parseLabelSelector(selector).map(({ name, type, value }) => ({
        label: name,
        op: type,
        value: value.replaceAll('\\', ''),
      }));
      t.strictSame(got, matchers, id);
      continue;
    }
    const message = messageOf(selector);
    if (error?.message !== undefined) t.equal(message, error.message, id);
    if (error?.messageContains !== undefined) t.ok(message.includes(error.messageContains), `${id}: ${message}`);
    if (error?.detailContains !== undefined) t.ok(message.includes(error.detailContains), `${id}: ${message}`);
  }
});

function messageOf(selector: string): string {
  try {
    parseLabelSelector(selector);
    return 'no error';
  } catch (error) {
    return error instanceof CodedError ? error.message : 'another error';
  }
}
