/** The daemon's metrics about itself, read from /metrics. */
import { parseExposition } from './exposition.ts';
import { scrape } from './recording-proxy.ts';

/** One of them, added up over the labels that are not named; 0 as long as none was exposed. */
export async function ownMetric(
  web: string,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  const wanted = Object.entries(labels);
  return parseExposition(await scrape(web))
    .filter((sample) => sample.name === name && wanted.every(([label, value]) => sample.labels[label] === value))
    .reduce((sum, sample) => sum + sample.value, 0);
}
