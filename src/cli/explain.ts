/** `tidegauge explain`: the whole chain of one Reading, as text. */
import { CodedError } from '../model/errors.ts';
import type { ExplainedReading } from '../scaling/explanation.ts';
import type { Call } from './cli.ts';
import { short } from './table.ts';

const SERIES_MAX = 10;

export async function printExplanation({ words, options, io, source }: Call): Promise<number> {
  const [what] = words;
  if (what === undefined || words.length > 1) {
    throw new CodedError('bad_data', "want one expression, or the name of a trigger: tidegauge explain 'sum(up)'");
  }
  // A trigger's name has no place in an expression: it holds a slash, or hyphens alone.
  const named = /^(?:([a-z0-9-]+)\/)([a-z0-9.-]+)$/.exec(what);
  const parameters: Record<string, string> =
    named === null ? { query: what } : { namespace: named[1]!, name: named[2]! };
  const explained = await source.ask<ExplainedReading>('scale/explain', parameters);
  io.write(options.json === true ? `${JSON.stringify(explained, null, 2)}\n` : textOf(explained));
  return explained.value === null ? 2 : 0;
}

function textOf(explained: ExplainedReading): string {
  const { query, evaluated, policy, outcome, value, reason, selectors, steps, keda, hpa } = explained;
  const lines = [`asked      ${query}`];
  if (evaluated !== query) lines.push(`evaluated  ${evaluated}`);
  lines.push(`policy     ${policy === '' ? 'defaults' : policy}`);
  for (const { selector, window, seriesCount, series, sourcesExpected, sourcesSeen } of selectors) {
    lines.push(
      `selector   ${selector}${window === null ? '' : `[${window}]`}: ${seriesCount} series, ${sourcesSeen} of ${sourcesExpected} sources heard`,
    );
    for (const one of series.slice(0, SERIES_MAX))
      lines.push(`           ${JSON.stringify(one.labels)} ${one.value} at ${one.newest}`);
    if (seriesCount > SERIES_MAX) lines.push(`           … and ${seriesCount - SERIES_MAX} more`);
  }
  for (const step of steps) lines.push(`step       ${Object.values(step).map(String).join(' ')}`);
  lines.push(`answer     ${value === null ? outcome : short(value)}${reason === '' ? '' : `: ${reason}`}`);
  return `${lines.join('\n')}\nKEDA ${keda.says}.\nHPA ${hpa.says}.\n`;
}
