/** HPA's arithmetic; the vectors of the conformance folder are run in test/api/kubernetes/conformance.test.ts. */
import { test } from 'tap';
import { combine, type HpaMetric, isInside, propose } from '../../src/scaling/hpa.ts';
import { HpaController } from '../../src/scaling/hpa-controller.ts';
import { parseQuantity } from '../../src/scaling/quantity.ts';

const milli = (text: string): bigint => parseQuantity(text) / 1_000_000n;

test('one value of an external metric becomes replicas', async (t) => {
  const f = (value: string, statusReplicas: number, want: number) => {
    const metric: HpaMetric = {
      type: 'External',
      target: { averageValueMilli: milli('10') },
      valuesMilli: [milli(value)],
    };
    t.match(propose(metric, { specReplicas: statusReplicas, statusReplicas }), { replicas: want }, value);
  };
  f('70', 3, 7);
  f('31', 3, 3);
  f('33', 3, 3);
  f('33001m', 3, 4);
  f('0', 3, 0);
  t.equal(isInside(1.1, { up: 0.1, down: 0.1 }, 33), true);
  t.equal(isInside(1.1, { up: 0.1, down: 0.1 }, 32), false);
  t.equal(combine([5, null], 3), 5, 'a metric that fails does not keep another from scaling up');
  t.equal(combine([2, null], 3), null, 'but from scaling down');
  t.equal(combine([null], 3), null);
});

test('a controller waits five minutes before it scales down, and doubles at most', async (t) => {
  const hpa = new HpaController({ minReplicas: 1, maxReplicas: 100, behavior: null });
  const f = (seconds: number, replicas: number, proposal: number | null, want: number) =>
    t.equal(hpa.reconcile(seconds * 1000, replicas, () => proposal).replicas, want, `${seconds} s`);
  f(0, 10, 10, 10);
  f(15, 10, 3, 10);
  f(30, 10, null, 10);
  f(300, 10, 3, 10);
  f(316, 10, 3, 3);
  f(331, 3, 60, 6);
});
