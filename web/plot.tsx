/** A time plot. Columns in, one line each; drawn again when they, the size or the theme change. */
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

export interface Line {
  readonly label: string;
  /** As long as the times; null or NaN where there is no point. */
  readonly values: readonly (number | null)[] | Float64Array;
  readonly dashed?: boolean;
}

export interface PlotProps {
  /** Seconds, ascending. */
  readonly times: readonly number[];
  readonly lines: readonly Line[];
  /** Zoomed to these seconds. */
  readonly onZoom?: (from: number, to: number) => void;
}

const HEIGHT = 320;
/** Above this many lines points are not drawn: they would hide each other, and cost the most. */
const POINTS_LINES_MAX = 20;

/** From so many lines on they are painted in slices, or drawing them would hold up the page for longer than is felt. */
const SLICED_LINES_MIN = 60;
const SLICE_MS = 12;
const SPAN_SECONDS_MIN = 60;

/** A colour that stays apart from its neighbours, by the golden angle. */
export function colourOf(i: number): string {
  return `hsl(${(205 + i * 137.5) % 360} 62% ${i % 2 === 0 ? 46 : 58}%)`;
}

export function Plot({ times, lines, onZoom }: PlotProps) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = box.current!;
    const isMany = lines.length > SLICED_LINES_MIN;
    const columns = isMany ? [times.map(() => null)] : lines.map(({ values }) => Array.from(values, pointOf));
    const options = isMany ? manyOptions(element, times, lines, onZoom) : optionsOf(element, lines, onZoom);
    const draw = (): uPlot => new uPlot(options, [times, ...columns] as unknown as uPlot.AlignedData, element);
    let plot = draw();
    const resized = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    const themed = new MutationObserver(() => {
      plot.destroy();
      plot = draw();
    });
    themed.observe(document.documentElement, { attributeFilter: ['data-theme'] });
    return () => {
      resized.disconnect();
      themed.disconnect();
      plot.destroy();
    };
  }, [times, lines]);
  const label = `${lines.length} lines over time`;
  return <div ref={box} class="plot" role="img" aria-label={label} data-lines={lines.length} />;
}

/** Only null is a gap to uPlot. */
function pointOf(value: number | null): number | null {
  return Number.isNaN(value) ? null : value;
}

function optionsOf(element: HTMLElement, lines: readonly Line[], onZoom: PlotProps['onZoom']): uPlot.Options {
  const styles = getComputedStyle(document.documentElement);
  const axis = {
    stroke: styles.getPropertyValue('--soft'),
    grid: { stroke: styles.getPropertyValue('--line'), width: 1 },
  };
  const few = lines.length <= POINTS_LINES_MAX;
  return {
    width: element.clientWidth,
    height: HEIGHT,
    scales: { x: { range: spanOf } },
    legend: { show: few },
    // Looking for the nearest of a thousand lines at each move of the pointer would be felt.
    cursor: {
      focus: { prox: few ? 16 : -1 },
      points: { show: few },
      drag: { x: true, y: false, setScale: onZoom === undefined },
    },
    axes: [
      axis,
      { ...axis, size: 70, values: (_plot, ticks) => ticks.map((tick) => String(Number(tick.toPrecision(4)))) },
    ],
    series: [
      {},
      ...lines.map(({ label, dashed }, i) => ({
        label,
        stroke: colourOf(i),
        width: 1.5,
        points: few ? { size: 4 } : { show: false },
        ...(dashed ? { dash: [6, 4] } : {}),
      })),
    ],
    hooks: {
      setSelect: [
        (plot) => {
          if (onZoom === undefined || plot.select.width < 4) return;
          onZoom(plot.posToVal(plot.select.left, 'x'), plot.posToVal(plot.select.left + plot.select.width, 'x'));
        },
      ],
    },
  };
}

/** At least a minute: a single moment would be shown as years. */
function spanOf(_plot: uPlot, from: number, to: number): [number, number] {
  const missing = Math.max(0, SPAN_SECONDS_MIN - (to - from)) / 2;
  return [from - missing, to + missing];
}

/** Axes are uPlot's; the lines are painted over them, some at each frame. */
function manyOptions(
  element: HTMLElement,
  times: readonly number[],
  lines: readonly Line[],
  onZoom: PlotProps['onZoom'],
): uPlot.Options {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const { values } of lines) {
    for (const value of values) {
      if (value === null || Number.isNaN(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (low > high) [low, high] = [0, 1];
  if (low === high) [low, high] = [low - 1, high + 1];
  const base = optionsOf(element, [], onZoom);
  let round = 0;
  const paint = (plot: uPlot): void => {
    const own = ++round;
    void paintLines(plot, times, lines, () => own === round);
  };
  return {
    ...base,
    legend: { show: false },
    series: [{}, {}],
    scales: { ...base.scales, y: { range: [low, high] } },
    hooks: { ...base.hooks, draw: [paint], destroy: [() => round++] },
  };
}

async function paintLines(
  plot: uPlot,
  times: readonly number[],
  lines: readonly Line[],
  isCurrent: () => boolean,
): Promise<void> {
  const { ctx, bbox } = plot;
  const xs = times.map((seconds) => plot.valToPos(seconds, 'x', true));
  const { min, max } = plot.scales.y as { readonly min: number; readonly max: number };
  const scale = bbox.height / (max - min);
  for (let i = 0; i < lines.length; ) {
    if (!isCurrent()) return;
    const began = performance.now();
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.lineWidth = devicePixelRatio;
    for (; i < lines.length && performance.now() - began < SLICE_MS; i++) {
      ctx.strokeStyle = colourOf(i);
      ctx.stroke(pathOf(xs, lines[i]!.values, bbox.top + bbox.height + min * scale, scale));
    }
    ctx.restore();
    await new Promise(requestAnimationFrame);
  }
  plot.root.parentElement?.setAttribute('data-painted', String(lines.length));
}

function pathOf(xs: readonly number[], values: Line['values'], zero: number, scale: number): Path2D {
  const path = new Path2D();
  let isOpen = false;
  for (let k = 0; k < xs.length; k++) {
    const value = values[k];
    if (value == null || Number.isNaN(value)) isOpen = false;
    else if (isOpen) path.lineTo(xs[k]!, zero - value * scale);
    else {
      path.moveTo(xs[k]!, zero - value * scale);
      isOpen = true;
    }
  }
  return path;
}
