/** Label sets numbered in the order in which they come up: how bind turns labels into integers. */
import { type Labels, labelsKey } from '../../model/labels.ts';
import { type Rows, rowsOf } from './rows.ts';

export class LabelTable {
  readonly labels: Labels[] = [];
  readonly marks: boolean[] = [];
  readonly #byKey = new Map<string, number>();

  get count(): number {
    return this.labels.length;
  }

  /** The number of a label set; its row is marked for name removal if any of those that came to it was. */
  rowOf(labels: Labels, marked: boolean): number {
    const key = labelsKey(labels);
    let row = this.#byKey.get(key);
    if (row === undefined) {
      row = this.labels.length;
      this.#byKey.set(key, row);
      this.labels.push(labels);
      this.marks.push(false);
    }
    if (marked) this.marks[row] = true;
    return row;
  }

  rows(): Rows {
    return rowsOf(this.labels, this.marks);
  }
}
