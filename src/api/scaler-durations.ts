/** How long autoscalers waited for their answers: one histogram for every surface that one asks. */
import { DURATION_BOUNDS, type Family, type HistogramCell, type Registry } from '../telemetry/registry.ts';

export type ScalerSurface = 'keda' | 'kubernetes';

const families = new WeakMap<Registry, Family<HistogramCell>>();

/** The cell of a method: to be made when the port opens, not for each request. */
export function scalerDuration(registry: Registry, surface: ScalerSurface, method: string): HistogramCell {
  let family = families.get(registry);
  if (family === undefined) {
    family = registry.histogram(
      'tidegauge_scaler_request_duration_seconds',
      'How long requests of autoscalers took, by surface (keda, kubernetes) and method; open streams and watches are none.',
      DURATION_BOUNDS,
      'surface',
      'method',
    );
    families.set(registry, family);
  }
  return family.with(surface, method);
}
