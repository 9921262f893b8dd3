#!/bin/sh
# Do two tuning sessions agree, and what do their choices cost?  50 problems: LeNet-5's training step,
# and gemms, convolutions and normalisations of MLPs and ResNet-56.
#
#     results/experiments/two-sessions.sh [BUDGET [HONE]]      (10m, ./hone)
exec "${2:-./hone}" autotune --twice --net lenet5 --batch 64 --optimizer sgd,adam --budget "${1:-10m}" \
    gemm:f32:nn:m128n128k8:bias+relu gemm:f32:nn:m128n84k120:bias gemm:f32:nn:m128n100k512:bias \
    gemm:f32:nt:m128n256k10 gemm:f32:nt:m128n50k22 gemm:f32:nt:m128n64k10 \
    gemm:f32:tn:m128n10k128 gemm:f32:tn:m8n128k128 gemm:f32:nn:m256n256k256 \
    conv2d_fwd:f32:nhwc:mb4ic16ih32oc16oh32kh3ph1 conv2d_fwd:f32:nhwc:mb8ic32ih16oc32oh16kh3ph1 \
    conv2d_dgrad:f32:nhwc:mb8ic32ih16oc32oh16kh3ph1 conv2d_dgrad:f32:nhwc:mb16ic64ih8oc64oh8kh3ph1 \
    conv2d_wgrad:f32:nhwc:mb8ic32ih16oc32oh16kh3ph1 conv2d_fwd:f32:nhwc:mb8ic64ih16oc128oh16kh1 \
    bnorm_fwd:f32:any:m4096n16
