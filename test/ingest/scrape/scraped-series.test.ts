/** What scrapes leave in the store: series, stale markers, reports; and what is owed when memory is short. */
import { test } from 'tap';
import { type ScrapeCounts, ScrapedSeries } from '../../../src/ingest/scrape/scraped-series.ts';
import type { TextFormat } from '../../../src/ingest/text/transcode.ts';
import type { Writer } from '../../../src/ingest/write.ts';
import { CodedError } from '../../../src/model/errors.ts';
import { type Bench, bench, dump, NOW_MS } from '../support.ts';

const STEP_MS = 15_000;

interface Scraped {
  readonly world: Bench;
  readonly series: ScrapedSeries;
  /** Scrapes this text at a time of so many steps. */
  scrape(step: number, text: string, format?: Partial<TextFormat>, samplesMax?: number): ScrapeCounts;
  end(step: number, all?: boolean): void;
  /** What is in the store, times in steps. */
  dump(): string[];
}

function scraped(writerOf: (writer: Writer) => Pick<Writer, 'scraped'> = (writer) => writer): Scraped {
  const world = bench({ nowMs: () => NOW_MS + 10 * STEP_MS });
  const series = new ScrapedSeries({ writer: writerOf(world.writer), head: world.head, connection: 7 });
  const atStep = (step: number): number => NOW_MS + step * STEP_MS;
  return {
    world,
    series,
    scrape: (step, text, format = {}, samplesMax = 100_000) =>
      last(
        series.store(
          Buffer.from(text),
          {
            isOpenMetrics: false,
            timestampMs: atStep(step),
            honorTimestamps: true,
            labels: [['job', 'j']],
            onConflict: 'renamed',
            ...format,
          },
          samplesMax,
        ),
      ),
    end: (step, all = false) => void last(all ? series.endAll(atStep(step)) : series.endScraped(atStep(step))),
    dump: () =>
      dump(world.head).map((line) => line.replace(/@(-?\d+)/g, (_, ms: string) => `@${Number(ms) / STEP_MS}`)),
  };
}

function last<T>(slices: Generator<void, T, void>): T {
  for (;;) {
    const { done, value } = slices.next();
    if (done) return value;
  }
}

test('a series that is not sent any more gets one stale marker, and may come back', async (t) => {
  const { scrape, end, dump: stored, series } = scraped();
  t.match(scrape(0, 'a{x="1"} 1\na{x="2"} 1\nb 1\n'), { scraped: 3, kept: 3, added: 3, refused: 0 });
  t.match(scrape(1, 'b 2\na{x="2"} 2\n'), { added: 0 }, 'another order is no other series');
  t.match(scrape(2, 'b 3\na{x="1"} 3\nc 3\n'), { added: 2 });
  t.equal(series.count, 3);
  end(3);
  t.equal(series.count, 0);
  t.match(scrape(4, 'b 4\n'), { added: 1 });
  t.strictSame(stored(), [
    'a{job="j", x="1"} 1@0 stale@1 3@2 stale@3',
    'a{job="j", x="2"} 1@0 2@1 stale@2',
    'b{job="j"} 1@0 2@1 3@2 stale@3 4@4',
    'c{job="j"} 3@2 stale@3',
  ]);
});

test('series with times of their own end by themselves, as in Prometheus', async (t) => {
  const { scrape, dump: stored } = scraped();
  scrape(1, `a 1 ${NOW_MS}\nb 1\n`);
  scrape(2, 'c 1\n');
  t.strictSame(stored(), ['a{job="j"} 1@0', 'b{job="j"} 1@1 stale@2', 'c{job="j"} 1@2']);
  const ignoring = scraped();
  ignoring.scrape(1, `a 1 ${NOW_MS}\n`, { honorTimestamps: false });
  ignoring.scrape(2, '');
  t.strictSame(ignoring.dump(), ['a{job="j"} 1@1 stale@2']);
});

test('series with exemplars, repeated lines and odd labels are known again, too', async (t) => {
  const { scrape, dump: stored } = scraped();
  const open = { isOpenMetrics: true };
  const ts = scrape(
    0,
    'a_total 1 # {trace_id="x"} 1\nb{z="1",a="2"} 1\nb{a="2",z="1"} 1\n{"odd.name","l.x"="ü"} 1\n# EOF\n',
    open,
  );
  t.match(ts, { scraped: 4, added: 3 });
  t.match(scrape(1, 'a_total 2 # {trace_id="y"} 1\nb{a="2",z="1"} 2\n# EOF\n', open), { added: 0 });
  t.match(scrape(2, '# EOF\n', open), { added: 0, scraped: 0 });
  t.strictSame(stored(), [
    'a_total{job="j"} 1@0 2@1 stale@2',
    'b{a="2", job="j", z="1"} 1@0 2@1 stale@2',
    'odd.name{job="j", l.x="ü"} 1@0 stale@1',
  ]);
});

test('a scrape that fails leaves nothing, and what is known is still owed its end', async (t) => {
  const { scrape, end, dump: stored } = scraped();
  scrape(0, 'a 1\n');
  const f = (text: string, want: { code: string; message: RegExp }, format: Partial<TextFormat> = {}): void => {
    t.throws(() => scrape(1, text, format, 2), want, text);
  };
  f('b 1\nb{ 2\n', { code: 'bad_body', message: /1 lines of the exposition, the first: line 2/ });
  f('b 1\n', { code: 'bad_body', message: /# EOF/ }, { isOpenMetrics: true });
  f('b 1\nc 1\nd 1\n', { code: 'body_too_large', message: /got 3 samples, want at most 2/ });
  end(1);
  t.strictSame(stored(), ['a{job="j"} 1@0 stale@1']);
});

test('labels: renamed, kept, enforced, relabelled', async (t) => {
  const { scrape, dump: stored } = scraped();
  const text = 'a{namespace="own",job="mine"} 1\nskip 1\n';
  const enforced = [['namespace', 'shop']] as const;
  const relabel = (labels: Map<string, string>): boolean => {
    labels.set('namespace', 'stolen');
    labels.set('more', 'yes');
    return labels.get('__name__') !== 'skip';
  };
  t.match(scrape(0, text, { enforced, relabel }), { scraped: 2, kept: 1, added: 1 });
  t.match(scrape(1, text, { enforced, onConflict: 'kept' }), { scraped: 2, kept: 2, added: 2 });
  t.strictSame(stored(), [
    'a{exported_job="mine", exported_namespace="own", job="j", more="yes", namespace="shop"} 1@0 stale@1',
    'a{exported_namespace="own", job="mine", namespace="shop"} 1@1',
    'skip{job="j", namespace="shop"} 1@1',
  ]);
});

test('reports end with their target, or go on with the one that takes over', async (t) => {
  const { world, scrape, end, series, dump: stored } = scraped();
  const labels = [['job', 'j']] as const;
  const counts = scrape(0, 'a 1\n');
  series.report({ isUp: true, seconds: 0.5, ...counts }, NOW_MS, labels);
  const heir = new ScrapedSeries({ writer: world.writer, head: world.head, connection: 8 });
  heir.inherit(series);
  end(1, true);
  t.match(stored(), ['a{job="j"} 1@0'], 'nothing is ended twice');
  last(heir.endAll(NOW_MS + 2 * STEP_MS));
  t.strictSame(stored(), [
    'a{job="j"} 1@0 stale@2',
    'scrape_duration_seconds{job="j"} 0.5@0 stale@2',
    'scrape_samples_post_metric_relabeling{job="j"} 1@0 stale@2',
    'scrape_samples_scraped{job="j"} 1@0 stale@2',
    'scrape_series_added{job="j"} 1@0 stale@2',
    'up{job="j"} 1@0 stale@2',
  ]);
});

test('while memory is short markers are owed, and come later', async (t) => {
  let isShort = false;
  const { scrape, dump: stored } = scraped((writer) => ({
    scraped(block, timestampMs, connection) {
      if (isShort) throw new CodedError('overloaded', 'full');
      return writer.scraped(block, timestampMs, connection);
    },
  }));
  scrape(0, 'a 1\nb 1\n');
  isShort = true;
  t.throws(() => scrape(1, 'a 2\n'), { code: 'overloaded' });
  isShort = false;
  scrape(2, 'a 3\n');
  t.strictSame(stored(), ['a{job="j"} 1@0 3@2', 'b{job="j"} 1@0 stale@2']);
});

test('thousands of series, several blocks: each is known again', async (t) => {
  const { scrape, world, series } = scraped();
  const text = (from: number, to: number): string =>
    Array.from({ length: to - from }, (_, i) => `metric{label="${'x'.repeat(50)}",n="${from + i}"} ${i}\n`).join('');
  t.match(scrape(0, text(0, 30_000)), { added: 30_000 });
  t.match(scrape(1, text(0, 30_000)), { added: 0 });
  t.match(scrape(2, text(10_000, 31_000)), { added: 1000, scraped: 21_000 });
  t.equal(series.count, 21_000);
  const ended = dump(world.head).filter((line) => line.includes('stale'));
  t.equal(ended.length, 10_000);
  world.head.verify();
});
