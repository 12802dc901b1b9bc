/** The `reading-*` cases of the folder that TIDEGAUGE_CONFORMANCE names, through real gRPC and a clock of the test's own. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { openKeda } from '../../../src/api/keda/server.ts';
import { GRPC } from '../../../src/model/errors.ts';
import { KedaClient } from '../../support/keda-client.ts';
import { ScalingStack, START_MS } from '../../support/scaling-stack.ts';

interface KedaCase {
  readonly id: string;
  readonly given: {
    readonly points: readonly {
      readonly metric: string;
      readonly attributes: Readonly<Record<string, string>>;
      readonly value: number;
      readonly atSecond: number;
    }[];
  };
  readonly trigger: { readonly metadata: Readonly<Record<string, string>> };
  readonly at: number;
  readonly expect: {
    readonly spec?: { readonly float: number; readonly int: number };
    readonly metrics?: { readonly float: number; readonly int: number };
    readonly active?: boolean;
    readonly error?: { readonly on: readonly string[]; readonly code: string; readonly text: string };
  };
}

const CODES: Readonly<Record<string, number>> = {
  NOT_FOUND: GRPC.notFound,
  UNAVAILABLE: GRPC.unavailable,
  FAILED_PRECONDITION: GRPC.failedPrecondition,
  INVALID_ARGUMENT: GRPC.invalidArgument,
};

const folder = process.env.TIDEGAUGE_CONFORMANCE;

test('conformance cases of Readings', {
  skip: folder === undefined && 'TIDEGAUGE_CONFORMANCE names no folder',
}, async (t) => {
  const cases = JSON.parse(readFileSync(join(folder!, 'keda', 'cases.json'), 'utf8')) as readonly KedaCase[];
  const readings = cases.filter(({ id }) => id.startsWith('reading-'));
  t.ok(readings.length >= 14, `${readings.length} cases`);
  for (const { id, given, trigger, at, expect } of readings) {
    await t.test(id, async (t) => {
      // The daemon began to listen at second 0.
      const stack = new ScalingStack({ uptimeMs: 0 });
      let second = 0;
      for (const { metric, attributes, value, atSecond } of given.points) {
        stack.clock.advance((atSecond - second) * 1000);
        second = atSecond;
        stack.put({ __name__: metric, ...attributes }, value, START_MS + atSecond * 1000);
      }
      stack.clock.advance((at - second) * 1000);
      const { readings, registry, logger } = stack;
      const scaler = await openKeda({ listen: { host: '127.0.0.1', port: 0 }, readings, registry, logger });
      const client = new KedaClient(scaler.address);
      t.teardown(() => scaler.close());
      t.teardown(() => client.close());
      const ref = { namespace: 'default', name: 'so1', metadata: trigger.metadata };
      const [spec] = await client.getMetricSpec(ref);
      if (expect.spec !== undefined) {
        t.match(spec, { targetSizeFloat: expect.spec.float, targetSize: BigInt(expect.spec.int) });
      }
      if (expect.metrics !== undefined) {
        const [value] = await client.getMetrics(ref, spec!.metricName);
        t.ok(Math.abs(value!.metricValueFloat - expect.metrics.float) < 1e-5, `${value!.metricValueFloat}`);
        t.equal(value!.metricValue, BigInt(expect.metrics.int));
      }
      if (expect.active !== undefined) t.equal(await client.isActive(ref), expect.active);
      for (const call of expect.error?.on ?? []) {
        const asked: Promise<unknown> =
          call === 'IsActive' ? client.isActive(ref) : client.getMetrics(ref, spec!.metricName);
        const { code, text } = expect.error!;
        await t.rejects(asked, { code: CODES[code]!, details: new RegExp(text) }, call);
      }
    });
  }
});
