import { test } from 'tap';
import {
  compareCodePoints,
  compareLabels,
  labelsFromObject,
  labelsFromPairs,
  labelsText,
  labelsToObject,
  labelValue,
} from '../../src/model/labels.ts';
import { inScope } from '../../src/model/scope.ts';

test('labels are sorted, unique and without empty values', async (t) => {
  t.strictSame(labelsFromObject({ b: '2', a: '1', c: '' }), ['a', '1', 'b', '2']);
  t.strictSame(
    labelsFromPairs([
      ['a', '1'],
      ['a', '2'],
    ]),
    ['a', '2'],
  );
  t.equal(labelValue(['a', '1'], 'b'), '');
  t.equal(labelsText(['__name__', 'up', 'job', 'a"b']), 'up{job="a\\"b"}');
  t.equal(labelsText(['__name__', 'up']), 'up');
  t.equal(labelsText([]), '{}');
  const hostile = labelsToObject(['__proto__', 'x', 'constructor', 'y']);
  t.equal(Object.getPrototypeOf(hostile), null);
  t.equal(Reflect.get(hostile, '__proto__'), 'x');
});

test('strings sort as their UTF-8 bytes do', async (t) => {
  const strings = ['', 'a', 'ab', 'b', 'é', '\u{e000}', '\u{ffff}', '\u{1f600}', 'a\u{1f600}', 'a\u{ffff}'];
  const byBytes = [...strings].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  t.strictSame([...strings].sort(compareCodePoints), byBytes);
  t.ok(compareLabels(['a', '1'], ['a', '1', 'b', '1']) < 0);
  t.ok(compareLabels(['a', '2'], ['a', '1', 'b', '1']) > 0);
  t.equal(compareLabels(['a', '1'], ['a', '1']), 0);
});

test('a scope sees its own namespaces and no series without one', async (t) => {
  t.equal(inScope(['namespace', 'shop'], ['shop']), true);
  t.equal(inScope(['namespace', 'bank'], ['shop']), false);
  t.equal(inScope(['k8s_namespace_name', 'shop'], ['shop']), true);
  t.equal(inScope(['k8s_namespace_name', 'shop', 'namespace', 'bank'], ['shop']), false);
  t.equal(inScope(['job', 'x'], ['shop']), false);
  t.equal(inScope(['job', 'x'], null), true);
});
