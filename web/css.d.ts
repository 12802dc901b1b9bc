/** The bundler takes styles as modules; they export nothing. */
declare module '*.css';
