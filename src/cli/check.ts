/** `tidegauge check-config`: the daemon's own files, and prometheus-adapter's, with the line of what is wrong. */
import { totalmem } from 'node:os';
import { checkExternalMetrics } from '../api/kubernetes/external-metrics.ts';
import { checkCustomMetrics } from '../api/kubernetes/own-custom-metrics.ts';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { CodedError } from '../model/errors.ts';
import { adapterFindings } from './adapter.ts';
import type { Call } from './cli.ts';
import { readExpression } from './expressions.ts';
import { documentsOf } from './manifests.ts';

export async function checkFiles({ words, io }: Call): Promise<number> {
  if (words.length === 0) throw new CodedError('bad_config', 'want some files: tidegauge check-config tidegauge.yaml');
  let faults = 0;
  for (const path of words) {
    for (const fault of faultsOf(path, io.readFile(path))) {
      faults++;
      io.write(`${fault}\n`);
    }
  }
  if (faults === 0) io.write(`${words.length === 1 ? 'the file' : 'all files'} can be used\n`);
  return faults === 0 ? 0 : 1;
}

function faultsOf(path: string, text: string): readonly string[] {
  const documents = documentsOf(path, text);
  const adapters = documents.filter(({ isAdapter }) => isAdapter);
  if (adapters.length > 0) {
    return adapters.flatMap((document) =>
      adapterFindings(document)
        .filter(({ isFault }) => isFault)
        .map(({ at, text: says }) => `${at}: ${says}`),
    );
  }
  try {
    const machine = { memoryBytes: totalmem(), constrainedMemoryBytes: process.constrainedMemory() };
    return metricFaults(loadConfig([`--config.file=${path}`], {}, () => text, machine));
  } catch (error) {
    if (error instanceof CodedError) return [error.message];
    throw error;
  }
}

/** Metrics as the daemon checks them before it serves them; a cluster may have kinds that are not built in. */
function metricFaults({ externalMetrics, customMetrics }: Config): readonly string[] {
  const faultOf = (origin: string, check: () => void): readonly string[] => {
    try {
      check();
      return [];
    } catch (error) {
      if (error instanceof CodedError) return [`${origin}: ${error.message}`];
      throw error;
    }
  };
  return [
    ...externalMetrics.flatMap((one) => faultOf(one.origin, () => checkExternalMetrics([one], EXPRESSIONS))),
    ...customMetrics.flatMap((one) => faultOf(one.origin, () => checkCustomMetrics([one], EXPRESSIONS, null))),
  ];
}

const EXPRESSIONS = {
  selectors(query: string) {
    readExpression(query);
    return [];
  },
};
