/** Folders of the packages that the bundler took something from, sorted. What was thrown away again does not count. */
export function packagesIn(metafile) {
  const taken = Object.values(metafile.outputs).flatMap(({ inputs }) =>
    Object.entries(inputs)
      .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
      .map(([path]) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0])
      .filter(Boolean),
  );
  return [...new Set(taken)].sort();
}
