/**
 * The editor of expressions: CodeMirror with PromQL's own completion. Loaded when it is needed, for it is larger than the
 * rest of the page. It lives in a shadow root, where its styles need no inline style element and a strict policy holds.
 */
import {
  autocompletion,
  type CompletionContext,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
} from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, insertNewlineAndIndent } from '@codemirror/commands';
import { bracketMatching, HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { lintKeymap } from '@codemirror/lint';
import { EditorState, Prec } from '@codemirror/state';
import { EditorView, keymap, placeholder } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { PromQLExtension } from '@prometheus-io/codemirror-promql';
import { newCompleteStrategy } from '@prometheus-io/codemirror-promql/dist/esm/complete/index.js';

export interface EditorOptions {
  readonly text: string;
  readonly history: readonly string[];
  readonly onText: (text: string) => void;
  readonly onRun: (text: string) => void;
}

export interface Editor {
  set(text: string): void;
  focus(): void;
  close(): void;
}

/** Beyond this many characters somebody writes something new. */
const RECALL_LENGTH_MAX = 20;
const LOOKBACK_MS = 2 * 60 * 60 * 1000;

export function openEditor(element: HTMLElement, options: EditorOptions): Editor {
  const root = element.shadowRoot ?? element.attachShadow({ mode: 'open' });
  const run = (view: EditorView): boolean => {
    options.onRun(view.state.doc.toString());
    return true;
  };
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: options.text,
      extensions: [
        history(),
        bracketMatching(),
        closeBrackets(),
        autocompletion(),
        promql(),
        recalled(options.history),
        syntaxHighlighting(HIGHLIGHT),
        THEME,
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ 'aria-label': 'Expression' }),
        placeholder('Expression, such as sum by (job) (rate(http_requests_total[5m])); Enter executes'),
        keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...completionKeymap, ...lintKeymap]),
        Prec.high(
          keymap.of([
            { key: 'Mod-Enter', run },
            { key: 'Shift-Enter', run: insertNewlineAndIndent },
          ]),
        ),
        // Enter takes a completion while one is offered; else it executes.
        Prec.high(
          EditorView.domEventHandlers({
            keydown: (event, own) => event.key === 'Enter' && !event.shiftKey && !isCompleting(own) && run(own),
          }),
        ),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) options.onText(update.state.doc.toString());
        }),
      ],
    }),
  });
  return {
    set: (text) => {
      if (view.state.doc.toString() !== text)
        view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
    },
    focus: () => view.focus(),
    close: () => view.destroy(),
  };
}

function isCompleting(view: EditorView): boolean {
  return (
    view.dom.querySelector('.cm-tooltip-autocomplete') !== null ||
    (view.root as ShadowRoot).querySelector('.cm-tooltip-autocomplete') !== null
  );
}

function promql() {
  const complete = newCompleteStrategy({ remote: { url: '', httpMethod: 'GET', lookbackInterval: LOOKBACK_MS } });
  return new PromQLExtension().setComplete({ completeStrategy: complete }).asExtension();
}

/** What was asked before is offered too, where the whole expression is still to be written. */
function recalled(expressions: readonly string[]) {
  const options = expressions.map((label) => ({ label, type: 'text', detail: 'asked before', boost: -50 }));
  const source = ({ pos, state }: CompletionContext) =>
    pos > RECALL_LENGTH_MAX || options.length === 0 ? null : { from: 0, to: state.doc.length, options };
  // One and the same source: a new one at each look would begin completion anew, for ever.
  const data = [{ autocomplete: source }];
  return EditorState.languageData.of(() => data);
}

const HIGHLIGHT = HighlightStyle.define([
  { tag: tags.keyword, color: 'var(--accent)', fontWeight: 'bold' },
  { tag: tags.function(tags.variableName), color: 'var(--accent)' },
  { tag: tags.string, color: 'var(--good)' },
  { tag: tags.number, color: 'var(--warn)' },
  { tag: tags.labelName, color: 'var(--warn)' },
  { tag: tags.comment, color: 'var(--soft)' },
  { tag: tags.invalid, color: 'var(--bad)' },
]);

const THEME = EditorView.theme({
  '&': { fontSize: '14px', color: 'var(--text)' },
  '&.cm-focused': { outline: '2px solid var(--accent)', outlineOffset: '-1px' },
  '.cm-content': { fontFamily: 'ui-monospace, "DejaVu Sans Mono", monospace', caretColor: 'var(--text)' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '.cm-tooltip': { background: 'var(--panel)', color: 'var(--text)', border: '1px solid var(--line)' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { background: 'var(--accent)', color: 'var(--panel)' },
  '.cm-completionInfo': { maxWidth: '420px' },
  '.cm-placeholder': { color: 'var(--soft)' },
});
