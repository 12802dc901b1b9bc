/** Stands in the bundle for packages that the daemon never calls (../build.mjs). */
module.exports = () => {
  throw new Error('this package is not part of the bundle');
};
