#!/bin/sh
# AlexNet on CIFAR-10 as a training-throughput study ran it: seconds and images per second against the batch (SGD), and accuracy by epoch of three optimizers at
# three rates.  DIR gets both sweeps and result.md, the study's numbers (TensorFlow on an IBM Power server with a GPU) beside ours.  It goes on where it stopped.
if [ $# != 1 ]; then
    cat >&2 <<'U'
Usage: sweep-alexnet.sh DIR
From the environment, with the study's values as defaults:
  HONE=hone                          the program
  DATA=cifar10                       a known set, or a directory
  BATCHES=250,500,1000,2000,5000     of the first sweep
  BATCH=250                          of the second one, where the study names none
  EPOCHS=30                          of the second sweep; the first one has 3, since an epoch warms up
  ROWS=                              training rows, all of them
  TUNE=                              a budget for the kernels of each batch and optimizer, such as 60s
U
    exit 2
fi
set -eu
dir=$1 hone=${HONE:-hone} data=${DATA:-cifar10} epochs=${EPOCHS:-30} batch=${BATCH:-250}
mkdir -p "$dir"
# shellcheck disable=SC2086
common="--net alexnet --data $data ${ROWS:+--limit $ROWS} ${TUNE:+--tune $TUNE}"

# shellcheck disable=SC2086
"$hone" sweep $common --optimizer sgd --lr 0.01 --epochs 3 --batch "${BATCHES:-250,500,1000,2000,5000}" -o "$dir/throughput"
# shellcheck disable=SC2086
"$hone" sweep $common --optimizer sgd,adam,rmsprop --lr 0.01,0.001,0.0001 --epochs "$epochs" --batch "$batch" -o "$dir/rates"

{
    echo "# AlexNet on CIFAR-10: batch sizes, optimizers, rates"
    echo
    "$hone" devices 2>/dev/null | sed -n 's/^cpu0[: ]*/Here: /p' | head -n 1
    echo "Data \`$data\`, ${ROWS:-all} training rows; the second sweep has $epochs epochs of batch $batch; tuning before: ${TUNE:-none}. The study had all 50,000 rows, 30 epochs and a GPU; its seconds are of whole epochs of those."
    echo
    echo "| batch | s/epoch [interval] | first epoch | images/s | steps tuned | study: s/epoch | images/s |"
    echo "| ---: | --- | ---: | ---: | ---: | ---: | ---: |"
    awk -F, 'BEGIN { split("250 6.83 7322 500 6.10 8193 1000 5.29 9451 2000 5.02 9960 5000 4.88 10255", v, " ")
            for (i = 1; i < 15; i += 3) { s[v[i]] = v[i + 1]; r[v[i]] = v[i + 2] } }
        NR == 1 { for (i = 1; i <= NF; i++) k[$i] = i; next }
        { printf "| %s | %.3g [%.3g %.3g] | %.3g | %.0f | %s/%s | %s | %s |\n", $1, $k["epoch_seconds"], $k["epoch_seconds_lo"], $k["epoch_seconds_hi"],
            $k["first_epoch_seconds"], $k["images_per_s"], $k["steps_tuned"], $k["steps"], s[$1] ? s[$1] : "-", r[$1] ? r[$1] : "-" }' "$dir/throughput/table.csv"
    echo
    echo "Accuracies of the training rows as they pass, which is what the study's seem to be (test accuracy in brackets); the study printed those of SGD."
    echo
    echo "| optimizer | rate | seconds/epoch | accuracy after epochs | study, after 5, 10, ..., 30 |"
    echo "| --- | ---: | ---: | --- | --- |"
    awk -F, -v last="$epochs" 'BEGIN { t["sgd 0.01"] = ".517 .657 .755 .851 .917 .977"; t["sgd 0.001"] = ".335 .424 .479 .503 .551 .578"; t["sgd 0.0001"] = ".139 .211 .264 .278 .291 .307" }
        function show(name) { return t[name] ? t[name] : "-" }
        FNR == 1 { delete k; for (i = 1; i <= NF; i++) k[$i] = i; file++; next }
        file == 1 { name = $1 " " $2; if (!(name in text)) order[++n] = name
            if ($k["epoch"] % 5 == 0 || $k["epoch"] == last) text[name] = text[name] sprintf(" %d: %.3f (%.3f)", $k["epoch"], $k["train_accuracy"], $k["test_accuracy"]); else text[name] = text[name] "" }
        file == 2 { seconds[$1 " " $2] = $k["status"] == "done" ? sprintf("%.3g", $k["epoch_seconds"]) : "failed"
            if ($k["near_chance"] == 1) chance[$1 " " $2] = "; no better than chance" }
        END { for (i = 1; i <= n; i++) { split(order[i], p, " "); printf "| %s | %s | %s |%s%s | %s |\n", p[1], p[2], seconds[order[i]], text[order[i]], chance[order[i]], show(order[i]) } }' \
        "$dir/rates/curves.csv" "$dir/rates/table.csv"
} >"$dir/result.md"
cat "$dir/result.md"
