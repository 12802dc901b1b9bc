/** Rules of prometheus-adapter: whether their selectors and templates make expressions that can be read. */
import { CodedError } from '../model/errors.ts';
import { parseSelectorText, readExpression } from './expressions.ts';
import { itemsAt, type Manifest, nodeAt, textAt } from './manifests.ts';

export interface Finding {
  readonly at: string;
  readonly isFault: boolean;
  readonly text: string;
}

const LISTS = ['rules', 'externalRules'] as const;

export function adapterFindings({ root, at }: Pick<Manifest, 'root' | 'at'>): readonly Finding[] {
  return LISTS.flatMap((list) =>
    itemsAt(root, list).flatMap((rule, i) => {
      const series = textAt(rule, 'seriesQuery');
      const query = textAt(rule, 'metricsQuery');
      const where = `${list}[${i}] ${series}`;
      const faults = [
        faultOf(series, 'got no seriesQuery, want a selector of series', parseSelectorText),
        faultOf(query, 'got no metricsQuery, want an expression with <<.Series>> and <<.LabelMatchers>>', (text) =>
          readExpression(filledIn(text)),
        ),
      ];
      const findings = faults.flatMap((fault, k): readonly Finding[] => {
        const node = nodeAt(rule, k === 0 ? 'seriesQuery' : 'metricsQuery') ?? rule;
        return fault === null ? [] : [{ at: at(node), isFault: true, text: `${where}: ${fault}` }];
      });
      return findings.length > 0 ? findings : [{ at: at(rule), isFault: false, text: where }];
    }),
  );
}

/** What is wrong with a text, or null. */
function faultOf(text: string, missing: string, read: (text: string) => unknown): string | null {
  if (text === '') return missing;
  try {
    read(text);
    return null;
  } catch (error) {
    if (error instanceof CodedError) return error.message;
    throw error;
  }
}

/** The template with something in each place. */
function filledIn(template: string): string {
  return template
    .replaceAll(/<<\s*\.Series\s*>>/g, 'some_series')
    .replaceAll(/<<\s*\.LabelMatchers\s*>>/g, 'namespace="some"')
    .replaceAll(/<<\s*\.GroupBy\s*>>/g, 'pod')
    .replaceAll(/<<\s*\.GroupBySlice\s*>>/g, 'pod')
    .replaceAll(/<<[^>]*>>/g, 'some');
}
